//! Floor 2: finds out what is known of every watched container, and asks for no more than a
//! decision needs.
//!
//! A round in which nothing is new costs one list, one HEAD for each distinct reference, and
//! nothing else: what an inspect says of a container does not change while its ID stays the same.

mod cache;
mod look_up;
mod previous;
mod quota;
mod readiness;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use cache::Cache;
pub use readiness::{Surroundings, of as readiness};

use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Offered, OpenUpdate, Previous, Running};
use crate::core::decide::{Circumstances, Question, question};
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::policy::{Policy, PolicyDefaults, Selection};
use crate::core::time::schedule::Schedule;
use crate::engine::{Engine, EngineError, Listed};
use crate::host::Host;
use crate::world::Ports;

/// What a look is about.
#[derive(Debug)]
pub struct Scope<'a> {
    /// What holds where a container's labels say nothing.
    pub defaults: &'a PolicyDefaults,
    /// What holds for the whole round.
    pub circumstances: &'a Circumstances,
    /// What is remembered.
    pub memory: &'a Memory,
    /// Updates that were left open, by container.
    pub open_updates: &'a BTreeMap<String, OpenUpdate>,
    /// Only these containers; `None`: all that are watched.
    pub names: Option<&'a BTreeSet<String>>,
    /// Not these.
    pub except: &'a BTreeSet<String>,
}

/// Looks at every container in the scope, sorted by name.
///
/// # Errors
/// The Engine does not give its list. What goes wrong with one container is said in its
/// observation.
pub async fn look<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    scope: &Scope<'_>,
) -> Result<Vec<Observation>, EngineError> {
    let mut observations = glance(ports, cache, scope).await?;
    answer(ports, cache, scope, &mut observations).await;
    Ok(observations)
}

/// The same without asking any registry.
///
/// # Errors
/// The Engine does not give its list.
pub async fn glance<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    scope: &Scope<'_>,
) -> Result<Vec<Observation>, EngineError> {
    let list = ports.engine().list().await?;
    cache.retain(&list);
    let mut observations = Vec::new();
    for (listed, policy) in watched(list, scope) {
        observations.push(observe(ports, cache, scope, listed, policy).await);
    }
    observations.sort_by(|a, b| a.name.cmp(&b.name));
    previous::find(ports.engine(), scope.memory, &mut observations).await?;
    Ok(observations)
}

/// The names of all containers that are opted in, whether their labels are right or not.
///
/// # Errors
/// The Engine does not give its list.
pub async fn watched_names<P: Ports>(
    ports: &P,
    defaults: &PolicyDefaults,
) -> Result<BTreeSet<String>, EngineError> {
    let list = ports.engine().list().await?;
    let is_watched = |listed: &Listed| {
        !is_ours(listed)
            && !matches!(Policy::from_labels(&listed.labels, defaults), Selection::OptedOut)
    };
    Ok(list.into_iter().filter(is_watched).map(|listed| listed.name).collect())
}

/// The names of the watched containers whose image is meant.
///
/// # Errors
/// The Engine does not give its list. A container that has just gone is passed over.
pub async fn following<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    defaults: &PolicyDefaults,
    is_meant: impl Fn(&Reference) -> bool,
) -> Result<BTreeSet<String>, EngineError> {
    let mut names = BTreeSet::new();
    for listed in ports.engine().list().await?.into_iter().filter(|listed| !is_ours(listed)) {
        if matches!(Policy::from_labels(&listed.labels, defaults), Selection::OptedOut) {
            continue;
        }
        let known = cache.container(ports.engine(), &listed.id).await;
        let reference = known.ok().and_then(|known| known.image.parse().ok());
        if reference.is_some_and(|reference| is_meant(&reference)) {
            names.insert(listed.name);
        }
    }
    Ok(names)
}

/// The schedules that watched containers bring along, by name.
///
/// # Errors
/// The Engine does not give its list.
pub async fn own_schedules<P: Ports>(
    ports: &P,
    defaults: &PolicyDefaults,
) -> Result<BTreeMap<String, Schedule>, EngineError> {
    let own = |listed: Listed| match Policy::from_labels(&listed.labels, defaults) {
        Selection::Watched(policy) if !is_ours(&listed) => Some((listed.name, policy.schedule?)),
        _ => None,
    };
    Ok(ports.engine().list().await?.into_iter().filter_map(own).collect())
}

type Read = Result<Policy, Vec<crate::core::policy::LabelError>>;

fn watched(list: Vec<Listed>, scope: &Scope<'_>) -> impl Iterator<Item = (Listed, Read)> {
    list.into_iter().filter_map(|listed| {
        let is_meant = scope.names.is_none_or(|names| names.contains(&listed.name))
            && !scope.except.contains(&listed.name);
        if !is_meant || is_ours(&listed) {
            return None;
        }
        match Policy::from_labels(&listed.labels, scope.defaults) {
            Selection::OptedOut => None,
            Selection::Watched(policy) => Some((listed, Ok(policy))),
            Selection::BadLabels(errors) => Some((listed, Err(errors))),
        }
    })
}

/// The containers of an update in flight have the labels of the one they stand for.
fn is_ours(listed: &Listed) -> bool {
    names::is_ours(&listed.name)
}

/// What is known without asking a registry.
async fn observe<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    scope: &Scope<'_>,
    listed: Listed,
    policy: Read,
) -> Observation {
    let known = cache.container(ports.engine(), &listed.id).await;
    let image =
        known.as_ref().map_or_else(|_| listed.image_id.clone(), |known| known.image.clone());
    let reference = image.parse::<Reference>();
    let running = match known {
        Err(error) => Err(error.to_string()),
        Ok(known) => {
            running(ports, cache, scope.memory, &listed, &known.manifest, reference.as_ref().ok())
                .await
        }
    };
    Observation {
        open_update: scope.open_updates.get(&listed.name).copied(),
        is_self: ports.host().own_container().as_ref() == Some(&listed.id),
        id: listed.id,
        name: listed.name,
        state: listed.state,
        image,
        reference,
        policy,
        running,
        previous: Previous::None,
        offered: Offered::Unasked,
        hold: None,
        refusal: None,
        readiness: None,
    }
}

async fn running<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    memory: &Memory,
    listed: &Listed,
    manifest: &Option<Digest>,
    reference: Option<&Reference>,
) -> Result<Running, String> {
    let document = match cache.image(ports.engine(), &listed.image_id).await {
        Ok(Some(document)) => document,
        Ok(None) => {
            return Err(format!("the Engine no longer knows the image {}", listed.image_id));
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut running = read_image(&document, &listed.image_id, reference);
    running.manifest.clone_from(manifest);
    running.digests.extend(memory.known.get(&listed.image_id).into_iter().flatten().cloned());
    running.digest = running.digest.or_else(|| running.digests.iter().next().cloned());
    Ok(running)
}

/// What an image's document says of it: all of its digests count, whichever repository they came
/// from, because a digest names content.
fn read_image(document: &Value, image_id: &str, reference: Option<&Reference>) -> Running {
    let names = document.pointer("/RepoDigests").and_then(Value::as_array);
    let mut digests = BTreeSet::new();
    let mut own = None;
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        let Ok(parsed) = name.parse::<Reference>() else { continue };
        let Some(digest) = &parsed.digest else { continue };
        digests.insert(digest.clone());
        if reference.is_some_and(|reference| reference.same_repository(&parsed)) {
            own = own.or_else(|| Some(digest.clone()));
        }
    }
    let platform = Platform {
        os: inspect::text(document, "/Os").to_owned(),
        architecture: inspect::text(document, "/Architecture").to_owned(),
        variant: inspect::text(document, "/Variant").to_owned(),
    };
    Running { image_id: image_id.to_owned(), digests, digest: own, manifest: None, platform }
}

/// Asks what is still open, the cheapest question first.
async fn answer<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    scope: &Scope<'_>,
    observations: &mut [Observation],
) {
    let asks = |wanted: Question| {
        move |observation: &&mut Observation| question(observation, scope.circumstances) == wanted
    };
    look_up::digests(ports.registry(), observations.iter_mut().filter(asks(Question::Digest)))
        .await;
    for observation in observations.iter_mut() {
        refresh(ports, cache, scope, observation).await;
    }
    quota::before_looks(ports.registry(), cache, scope, observations);
    let unresolved = observations.iter_mut().filter(asks(Question::Image));
    look_up::images(ports.registry(), cache, unresolved).await;
    for observation in observations.iter_mut() {
        remember_refusal(scope.memory, observation);
    }
    let surroundings = Surroundings { defaults: scope.defaults, open: scope.open_updates };
    for observation in observations.iter_mut().filter(asks(Question::Readiness)) {
        observation.readiness =
            readiness::of(ports, &surroundings, observation).await.map(Box::new);
    }
    quota::before_pulls(ports.registry(), cache, scope, observations);
}

/// A digest that does not match is a reason to ask the Engine again, before the registry is asked
/// for more: the image may have been pulled by hand under a new digest meanwhile.
async fn refresh<P: Ports>(
    ports: &P,
    cache: &mut Cache,
    scope: &Scope<'_>,
    observation: &mut Observation,
) {
    remember_refusal(scope.memory, observation);
    if question(observation, scope.circumstances) != Question::Image {
        return;
    }
    let Ok(running) = &mut observation.running else { return };
    cache.forget_image(&running.image_id);
    let image_id = running.image_id.clone();
    if let Ok(Some(document)) = cache.image(ports.engine(), &image_id).await {
        let again = read_image(&document, &image_id, observation.reference.as_ref().ok());
        running.digests.extend(again.digests);
    }
}

/// A refusal of the index saves the GET; a refusal of the manifest catches a republished index.
fn remember_refusal(memory: &Memory, observation: &mut Observation) {
    let refusal = match &observation.offered {
        Offered::Unasked | Offered::Unknown(_) => None,
        Offered::Digest(digest) => memory.refusal(&observation.name, digest),
        Offered::Image(offer) => {
            offer.digests().iter().find_map(|digest| memory.refusal(&observation.name, digest))
        }
    };
    observation.refusal = refusal.cloned();
}

/// Looks once more at what an update of this container would meet: another update may have changed
/// it since.
pub async fn look_again<P: Ports>(
    ports: &P,
    surroundings: &Surroundings<'_>,
    observation: &mut Observation,
) {
    if observation.readiness.is_some() {
        observation.readiness = readiness::of(ports, surroundings, observation).await.map(Box::new);
    }
}
