//! Gathers what decisions still need after the Engine's lists are known, and decides.
//! `core::decide::evidence` says what is missing, and in which order it is gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache::{ContainerFacts, Gaps};
use super::{Cache, PreflightContext, Scope, TieIndex};
use super::{origin, origin_of, preflight, quota, read_image, resolve};
use crate::core::decide::evidence::{Evidence, missing};
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Offered};
use crate::core::decide::{Decision, decide};
use crate::ports::Ports;

/// Gathers the evidence that the decisions about these containers need, kind by kind, and decides.
/// All of these observations ask `registry`, or none of them asks any. The decisions have the order
/// of the observations.
pub async fn answer<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    (scope, registry): (&Scope<'_>, Option<&str>),
    observations: &mut [Observation],
) -> Vec<Decision> {
    for evidence in Evidence::ORDER {
        if let (Evidence::OfferedImage, Some(name)) = (evidence, registry) {
            quota::before_looks(ports.registry(), name, cache, scope, observations);
        }
        let lacks = |seen: &&mut Observation| missing(seen, scope.circumstances) == Some(evidence);
        let open: Vec<_> = observations.iter_mut().filter(lacks).collect();
        if !open.is_empty() {
            gather(ports, cache, scope, (evidence, open)).await;
        }
    }
    let decided = observations.iter().map(|seen| decide(seen, scope.circumstances));
    let mut decisions: Vec<_> = decided.collect();
    quota::before_pulls(ports.registry(), cache, scope, (observations, &mut decisions));
    decisions
}

/// Gathers one kind of evidence for the containers that need it.
async fn gather<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
    (evidence, mut open): (Evidence, Vec<&mut Observation>),
) {
    let each = open.iter_mut().map(|seen| &mut **seen);
    match evidence {
        Evidence::OfferedDigest => {
            let (local, remote): (Vec<_>, Vec<_>) = each.partition(|seen| seen.is_local());
            resolve::local_tags(ports.engine(), local.into_iter()).await;
            resolve::digests(ports.registry(), remote.into_iter()).await;
        }
        Evidence::RunningImage => inspect_images(ports, cache, scope, &mut open).await,
        Evidence::Origin => origin::ask(ports, each).await,
        Evidence::OfferedImage => resolve::images(ports.registry(), cache, each).await,
        Evidence::Readiness => survey(ports, cache, scope, &mut open).await,
    }
    if matches!(evidence, Evidence::OfferedDigest | Evidence::OfferedImage) {
        open.iter_mut().for_each(|seen| recall(scope.memory, seen));
    }
}

/// Checks what an update of these containers needs.
async fn survey<P: Ports>(
    ports: &P,
    cache: &Cache,
    scope: &Scope<'_>,
    open: &mut [&mut Observation],
) {
    let surroundings = PreflightContext { defaults: scope.defaults, open: scope.open_updates };
    let mut ties = TieIndex::default();
    for observation in open {
        let known = (&mut ties, cache);
        observation.readiness =
            preflight::of(ports, known, &surroundings, observation).await.map(Box::new);
    }
}

/// Inspects the images that these containers run: another digest is offered, and only an inspect
/// shows the platform to look for.
async fn inspect_images<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
    open: &mut [&mut Observation],
) {
    let ids = open.iter().filter_map(|seen| Some(seen.running.as_ref().ok()?.image_id.clone()));
    let ids: BTreeSet<_> = ids.collect();
    let gaps = cache.ask_for_images(ports.engine(), ids.iter().map(String::as_str).collect()).await;
    let rows: BTreeMap<_, _> = scope.list.iter().map(|listed| (&listed.id, listed)).collect();
    for observation in open {
        let container = rows.get(&observation.id).and_then(|listed| cache.container(listed));
        renew(observation, (cache, &gaps), container, scope.memory);
    }
}

/// Adds the facts from the inspect of an image. Without them the running image cannot be compared.
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
    running.is_inspected = true;
    running.platform = now.platform;
    running.digests.extend(now.digests);
    if let Some(container) = container {
        running.origin = origin_of((container, image), running, reference, memory);
    }
}

/// Uses the results of earlier tries of the offered image. A known index saves the GET; a known
/// manifest finds a republished index.
fn recall(memory: &Memory, observation: &mut Observation) {
    let digests = match &observation.offered {
        Offered::Unasked | Offered::Unknown(_) => BTreeSet::new(),
        Offered::Digest(digest) => BTreeSet::from([digest.clone()]),
        Offered::Image(offer) => offer.digests(),
    };
    let (subject, id) = (observation.subject(), &observation.id);
    let refusal = digests.iter().find_map(|digest| memory.refusal(&subject, digest)).cloned();
    let failing = digests.iter().find_map(|digest| memory.failing(&subject, id, digest)).cloned();
    (observation.refusal, observation.failing) = (refusal.map(Box::new), failing.map(Box::new));
}

/// Checks once more what an update of this container needs, because another update may have changed
/// it.
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
