//! What is still open once the Engine's lists have told what runs: asked of the Engine and of
//! registries, the cheapest question first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache::{ContainerFacts, Gaps};
use super::{Cache, PreflightContext, Scope, TieIndex};
use super::{origin, origin_of, preflight, quota, read_image, resolve};
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Offered};
use crate::core::decide::{MissingFact, question};
use crate::ports::Ports;

/// Asks what is still open, the cheapest question first. All of these observations ask `registry`,
/// or none of them asks any.
pub async fn answer<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    (scope, registry): (&Scope<'_>, Option<&str>),
    observations: &mut [Observation],
) {
    let asks = |wanted: MissingFact| {
        move |observation: &&mut Observation| question(observation, scope.circumstances) == wanted
    };
    let by_local_tag = observations.iter_mut().filter(asks(MissingFact::Digest));
    resolve::local_tags(ports.engine(), by_local_tag.filter(|seen| seen.is_local())).await;
    resolve::digests(ports.registry(), observations.iter_mut().filter(asks(MissingFact::Digest)))
        .await;
    refresh(ports, cache, scope, observations).await;
    origin::ask(ports, observations.iter_mut().filter(asks(MissingFact::Origin))).await;
    if let Some(name) = registry {
        quota::before_looks(ports.registry(), name, cache, scope, observations);
    }
    let unresolved = observations.iter_mut().filter(asks(MissingFact::Image));
    resolve::images(ports.registry(), cache, unresolved).await;
    for observation in observations.iter_mut() {
        recall(scope.memory, observation);
    }
    let surroundings = PreflightContext { defaults: scope.defaults, open: scope.open_updates };
    let mut ties = TieIndex::default();
    for observation in observations.iter_mut().filter(asks(MissingFact::Readiness)) {
        observation.readiness =
            preflight::of(ports, (&mut ties, cache), &surroundings, observation)
                .await
                .map(Box::new);
    }
    quota::before_pulls(ports.registry(), cache, scope, observations);
}

/// A digest that does not match is a reason to inspect the image, before the registry is asked for
/// more: it may have been pulled by hand under a new digest meanwhile, and its platform is needed.
async fn refresh<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
    observations: &mut [Observation],
) {
    let is_open = |seen: &Observation| {
        matches!(question(seen, scope.circumstances), MissingFact::Image | MissingFact::Origin)
    };
    let mut unmatched = Vec::new();
    for observation in observations {
        recall(scope.memory, observation);
        if is_open(observation) {
            unmatched.push(observation);
        }
    }
    if unmatched.is_empty() {
        return;
    }
    let ids =
        unmatched.iter().filter_map(|seen| Some(seen.running.as_ref().ok()?.image_id.clone()));
    let ids: BTreeSet<_> = ids.collect();
    let gaps = cache.ask_for_images(ports.engine(), ids.iter().map(String::as_str).collect()).await;
    let rows: BTreeMap<_, _> = scope.list.iter().map(|listed| (&listed.id, listed)).collect();
    for observation in unmatched {
        let container = rows.get(&observation.id).and_then(|listed| cache.container(listed));
        renew(observation, (cache, &gaps), container, scope.memory);
    }
}

/// Takes in what the inspect of an image has told. Where it has not, what runs is not known well
/// enough to be compared.
fn renew(
    observation: &mut Observation,
    (cache, gaps): (&Cache, &Gaps),
    container: Option<ContainerFacts<'_>>,
    memory: &Memory,
) {
    let (Ok(running), Ok(reference)) = (&mut observation.running, &observation.reference) else {
        return;
    };
    let image = cache.image(&running.image_id).filter(|image| image.platform.is_some());
    let Some(image) = image else {
        let why = gaps.get(&running.image_id).cloned().unwrap_or_default();
        observation.running = Err(why);
        return;
    };
    let now = read_image(image, &running.image_id, None);
    running.platform = now.platform;
    running.digests.extend(now.digests);
    if let Some(container) = container {
        running.origin = origin_of((container, image), running, reference, memory);
    }
}

/// What earlier tries of the offered image say. What is known of the index saves the GET; what is
/// known of the manifest catches a republished index.
fn recall(memory: &Memory, observation: &mut Observation) {
    let digests = match &observation.offered {
        Offered::Unasked | Offered::Unknown(_) => BTreeSet::new(),
        Offered::Digest(digest) => BTreeSet::from([digest.clone()]),
        Offered::Image(offer) => offer.digests(),
    };
    let Observation { name, id, .. } = &*observation;
    let refusal = digests.iter().find_map(|digest| memory.refusal(name, digest)).cloned();
    let failing = digests.iter().find_map(|digest| memory.failing(name, id, digest)).cloned();
    (observation.refusal, observation.failing) = (refusal.map(Box::new), failing.map(Box::new));
}

/// Looks once more at what an update of this container would meet: another update may have changed
/// it since.
pub async fn look_again<P: Ports>(
    ports: &P,
    known: (&mut TieIndex, &Cache),
    surroundings: &PreflightContext<'_>,
    observation: &mut Observation,
) {
    if observation.readiness.is_some() {
        observation.readiness =
            preflight::of(ports, known, surroundings, observation).await.map(Box::new);
    }
}
