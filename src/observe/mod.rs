//! Layer 2: collects what is known about each watched container, and asks for no more than a
//! decision needs.
//!
//! A look costs lists and no inspects: the list of containers contains their names, labels, states
//! and images, the list of images their digests and labels. A container or an image is inspected
//! only if there is something to do for it, or if a list does not contain the facts.
//!
//! A round without news costs one list, and one HEAD for each distinct reference, because the facts
//! about an image do not change while its ID stays the same.

mod cache;
mod compose_hooks;
mod groups;
mod resolve;
mod ties;
mod origin;
mod rollback_target;
mod quota;
mod preflight;
mod evidence;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use cache::Cache;
use cache::{ContainerFacts, Gaps, KnownImage};
pub use compose_hooks::ComposeHooks;
pub use evidence::{answer, look_again};
pub use groups::Groups;
pub use origin::{ask as ask_origin, remember as remember_origins};
pub use preflight::{PreflightContext, free_bytes, of as readiness};
pub use services::{
    ObservedService, ServiceScope, WatchedService, is_named, observe_services, watched_services,
};
pub use ties::TieIndex;

use crate::core::decide::Circumstances;
use crate::core::decide::evidence::{Evidence, missing};
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Offered, OpenUpdate, Previous, Running};
use crate::core::decide::origin::{ImageOrigin, OriginTraces, is_written_as_id, known};
use crate::core::deployment::DeploymentFacts;
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::hooks::{Hook, Moment};
use crate::core::policy::managers::Manager;
use crate::core::policy::own_labels::{IgnoredLabels, Labels};
use crate::core::policy::{Policy, PolicyDefaults, Selection, own_labels};
use crate::core::time::schedule::Schedule;
use crate::engine::Listed;
use crate::host::Host;
use crate::ports::Ports;

/// The input of a look.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The policy for labels that a container does not have.
    pub defaults: &'a PolicyDefaults,
    /// What is the same for the whole round.
    pub circumstances: &'a Circumstances,
    /// All containers of the Engine.
    pub list: &'a [Listed],
    /// The memory: refused digests, known images.
    pub memory: &'a Memory,
    /// The groups of all watched containers.
    pub groups: &'a Groups,
    /// Open updates, by container.
    pub open_updates: &'a BTreeMap<String, OpenUpdate>,
    /// Only these containers; `None`: all that are watched.
    pub names: Option<&'a BTreeSet<String>>,
    /// Not these.
    pub except: &'a BTreeSet<String>,
}

/// Looks at every container in the scope, sorted by name, without asking any registry. An error of
/// one container is in its observation.
pub async fn observe_local<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
) -> Vec<Observation> {
    cache.retain(scope.list);
    cache.learn_image_labels(ports.engine(), scope.list).await;
    let watched = watched(scope, cache);
    let unpublished = watched.iter().map(|(listed, _)| listed.image_id.as_str());
    cache.forget_unpublished(unpublished);
    let gaps = cache.learn(ports.engine(), watched.iter().map(|(listed, _)| *listed)).await;
    let own = ports.host().own_container();
    let told = EngineFacts { cache, gaps, own };
    let seen = watched.into_iter().map(|(listed, policy)| observe(&told, scope, listed, policy));
    let mut observations: Vec<_> = seen.collect();
    // Names are unique, so an unstable sort is enough. It sorts in place, because a copy of
    // thousands of observations is megabytes.
    observations.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    rollback_target::find(ports.engine(), scope.memory, &mut observations).await;
    observations
}

/// Groups the observations by the registry that each must still ask; `None`: none. Each group is
/// answered independently, so that a registry that hangs delays only its own containers.
#[must_use]
pub fn by_registry(
    observations: Vec<Observation>,
    circumstances: &Circumstances,
) -> BTreeMap<Option<String>, Vec<Observation>> {
    let registry_of = |observation: &Observation| {
        let asks = missing(observation, circumstances) == Some(Evidence::OfferedDigest);
        let registry = observation.reference.as_ref().ok().map(|it| it.registry.clone());
        registry.filter(|_| asks && !observation.is_local())
    };
    let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for observation in &observations {
        *counts.entry(registry_of(observation)).or_default() += 1;
    }
    // Thousands of observations are megabytes, so a single group is not copied.
    if counts.len() == 1 {
        return counts.into_keys().zip([observations]).collect();
    }
    let empty = |(registry, count)| (registry, Vec::with_capacity(count));
    let mut groups: BTreeMap<_, Vec<_>> = counts.into_iter().map(empty).collect();
    for observation in observations {
        groups.entry(registry_of(&observation)).or_default().push(observation);
    }
    groups
}

/// The names of all opted-in containers, also those with wrong labels.
#[must_use]
pub fn watched_names(
    list: &[Listed],
    defaults: &PolicyDefaults,
    cache: &Cache,
) -> BTreeSet<String> {
    opted_in(list, defaults, cache).into_iter().map(|(listed, _)| listed.name.clone()).collect()
}

/// The names of the watched containers whose image `is_meant` accepts. A container that has just
/// been removed is skipped.
pub async fn following<P: Ports>(
    ports: &P,
    cache: &mut Arc<Cache>,
    (list, defaults): (&[Listed], &PolicyDefaults),
    is_meant: impl Fn(&Reference) -> bool,
) -> BTreeSet<String> {
    cache.learn_image_labels(ports.engine(), list).await;
    let watched: Vec<_> =
        opted_in(list, defaults, cache).into_iter().map(|(listed, _)| listed).collect();
    let _ = cache.learn_containers(ports.engine(), watched.iter().copied()).await;
    let follows = |listed: &&Listed| {
        let reference = cache.container(listed).and_then(|known| known.from.image.parse().ok());
        reference.is_some_and(|reference| is_meant(&reference))
    };
    watched.into_iter().filter(follows).map(|listed| listed.name.clone()).collect()
}

/// The watched containers' own schedules, by name.
#[must_use]
pub fn own_schedules(
    list: &[Listed],
    defaults: &PolicyDefaults,
    cache: &Cache,
) -> BTreeMap<String, Schedule> {
    let own =
        |(listed, policy): (&Listed, Read)| Some((listed.name.clone(), policy.ok()?.schedule?));
    opted_in(list, defaults, cache).into_iter().filter_map(own).collect()
}

/// The hooks of this moment, with the names and the IDs of the running containers that have them.
#[must_use]
pub fn hooks_at(
    list: &[Listed],
    (defaults, cache): (&PolicyDefaults, &Cache),
    moment: Moment,
) -> Vec<(String, String, Hook)> {
    let of = |(listed, policy): (&Listed, Read)| {
        // The command must not come from the image, or from a service whose one-off container this
        // is.
        let is_theirs = Manager::of(&listed.name, &listed.labels).is_none()
            && cache.image_labels(listed).is_some();
        let policy = policy.ok().filter(|_| is_theirs);
        let hook = policy?.commands.hooks.at(moment)?;
        (listed.state == "running").then(|| (listed.name.clone(), listed.id.clone(), hook))
    };
    opted_in(list, defaults, cache).into_iter().filter_map(of).collect()
}

/// The labels that do not count, although they would concern their containers: those of images,
/// and hooks of Watchtower beside Pilotfish's own.
#[must_use]
pub fn ignored_labels(
    list: &[Listed],
    defaults: &PolicyDefaults,
    cache: &Cache,
) -> Vec<IgnoredLabels> {
    let of = |listed: &Listed| {
        let labels = (&listed.labels, cache.image_labels(listed)?);
        let of_image = own_labels::ignored_labels(&listed.name, labels, defaults);
        let hooks = own_labels::overridden_hooks(&listed.name, labels, defaults);
        Some(of_image.into_iter().chain(hooks))
    };
    let theirs = list.iter().filter(|listed| !names::is_ours(&listed.name));
    let mut all: Vec<_> = theirs.filter_map(of).flatten().collect();
    all.sort_by(|a, b| a.container.cmp(&b.container));
    all
}

/// The labels of an image that is not known.
static NO_LABELS: Labels = Labels::new();

type Read = Result<Policy, Vec<crate::core::policy::LabelError>>;

/// The containers in the scope, with their policies.
fn watched<'a>(scope: &Scope<'a>, cache: &Cache) -> Vec<(&'a Listed, Read)> {
    let mut all = opted_in(scope.list, scope.defaults, cache);
    all.retain(|(listed, _)| {
        scope.names.is_none_or(|names| names.contains(&listed.name))
            && !scope.except.contains(&listed.name)
    });
    all
}

/// All opted-in containers. The containers of an update in flight are not among them, although they
/// have the labels of their service.
fn opted_in<'a>(
    list: &'a [Listed],
    defaults: &PolicyDefaults,
    cache: &Cache,
) -> Vec<(&'a Listed, Read)> {
    let read = |listed: &'a Listed| {
        if names::is_ours(&listed.name) {
            return None;
        }
        // If the image is not known, the labels count, and the container is not touched, because
        // what it runs is not known either.
        let of_image = cache.image_labels(listed).unwrap_or(&NO_LABELS);
        let of_deployment = defaults.deployments.of_container(&listed.name);
        let selection = match of_deployment {
            Some(_) => read_opted_in(&listed.labels, of_image, defaults),
            None => own_labels::read(&listed.labels, of_image, defaults),
        };
        match selection {
            Selection::OptedOut => None,
            Selection::Watched(policy) => Some((listed, Ok(policy))),
            Selection::BadLabels(errors) => Some((listed, Err(errors))),
        }
    };
    list.iter().filter_map(read).collect()
}

/// The policy of a container that a deployment opts in.
fn read_opted_in(labels: &Labels, of_image: &Labels, defaults: &PolicyDefaults) -> Selection {
    let defaults = PolicyDefaults { opt_in: false, ..defaults.clone() };
    own_labels::read(labels, of_image, &defaults)
}

/// What is known of a container because it belongs to a deployment.
fn deployment_facts(
    scope: &Scope<'_>,
    listed: &Listed,
    cache: &Cache,
) -> Option<Box<DeploymentFacts>> {
    let deployment = scope.defaults.deployments.of_container(&listed.name)?;
    let of_image = cache.image_labels(listed).unwrap_or(&NO_LABELS);
    let alone = own_labels::read(&listed.labels, of_image, scope.defaults);
    Some(Box::new(DeploymentFacts {
        name: deployment.name.clone(),
        is_watched_anyway: alone != Selection::OptedOut,
        pushed: scope.memory.pushed.get(&listed.image_id).cloned(),
        stopped: scope.memory.stopped.get(&listed.name).cloned(),
    }))
}

/// The facts from the Engine and the machine.
struct EngineFacts<'a> {
    cache: &'a Cache,
    gaps: Gaps,
    /// The container in which this agent runs.
    own: Option<String>,
}

/// What is known without asking a registry.
fn observe(
    told: &EngineFacts<'_>,
    scope: &Scope<'_>,
    listed: &Listed,
    policy: Read,
) -> Observation {
    let known = told.cache.container(listed);
    let image = known.map_or_else(|| listed.image_id.clone(), |known| known.from.image.clone());
    let reference = image.parse::<Reference>();
    let running = running(told, scope.memory, listed, reference.as_ref().ok());
    Observation {
        open_update: scope.open_updates.get(&listed.name).cloned(),
        is_self: told.own.as_ref() == Some(&listed.id),
        id: listed.id.clone(),
        name: listed.name.clone(),
        state: listed.state.clone(),
        exit_code: listed.exit_code,
        is_job: scope.groups.is_job(&listed.name),
        manager: Manager::of(&listed.name, &listed.labels),
        image,
        reference,
        policy,
        running,
        deployment: deployment_facts(scope, listed, told.cache),
        previous: Previous::None,
        offered: Offered::Unasked,
        hold: None,
        refusal: None,
        failing: None,
        readiness: None,
    }
}

fn running(
    told: &EngineFacts<'_>,
    memory: &Memory,
    listed: &Listed,
    reference: Option<&Reference>,
) -> Result<Running, String> {
    let gap = |id: &String| told.gaps.get(id).cloned().unwrap_or_default();
    let container = told.cache.container(listed).ok_or_else(|| gap(&listed.id))?;
    let image = told.cache.image(&listed.image_id).ok_or_else(|| gap(&listed.image_id))?;
    let mut running = read_image(image, &listed.image_id, reference);
    running.manifest.clone_from(&container.from.manifest);
    running.is_written_as_id =
        is_written_as_id(&container.from.image, &listed.image_id, &image.tags);
    if let Some(reference) = reference {
        running.origin = origin_of((container, image), &running, reference, memory);
        running.version = image.version.as_ref().and_then(|stated| stated.own(reference).cloned());
    }
    if container.from.manifest.is_some() {
        // On the containerd image store an ID is a digest. It is used if the image has no name
        // left, because `docker pull` moves the only tag to the new image.
        let id = listed.image_id.parse::<Digest>().ok();
        running.digest = running.digest.or_else(|| id.clone());
        running.digests.extend(id);
    }
    running.digests.extend(memory.known.get(&listed.image_id).into_iter().flatten().cloned());
    running.digest = running.digest.or_else(|| running.digests.iter().next().cloned());
    Ok(running)
}

/// Adds the known digests of an image. All of them count, from any repository, because a digest
/// names content.
fn read_image(image: &KnownImage, image_id: &str, reference: Option<&Reference>) -> Running {
    let mut digests = BTreeSet::new();
    let mut own = None;
    for name in &image.repo_digests {
        let Ok(parsed) = name.parse::<Reference>() else { continue };
        let Some(digest) = &parsed.digest else { continue };
        digests.insert(digest.clone());
        if reference.is_some_and(|reference| reference.same_repository(&parsed)) {
            own = own.or_else(|| Some(digest.clone()));
        }
    }
    let (image_id, platform) = (image_id.to_owned(), image.platform.clone().unwrap_or_default());
    Running { image_id, digests, digest: own, platform, ..Running::default() }
}

/// What is known about the origin of an image, without a question.
fn origin_of(
    (container, image): (ContainerFacts<'_>, &KnownImage),
    running: &Running,
    reference: &Reference,
    memory: &Memory,
) -> ImageOrigin {
    let traces = OriginTraces {
        reference,
        image_id: &running.image_id,
        repo_digests: &image.repo_digests,
        is_classic: !container.is_podman && container.from.manifest.is_none(),
    };
    known(&traces, memory)
}
