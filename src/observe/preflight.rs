//! What an update needs: the documents it starts from, room on the disk, the probe.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Cache;
use super::ties::{OtherContainers, TieIndex};
use crate::core::decide::observation::{
    DependentFacts, Observation, Offered, OpenUpdate, Readiness,
};
use crate::core::decide::update_lock::{LockState, SeenLock, tmpfs_of};
use crate::core::docker::inspect;
use crate::core::docker::names;
use crate::core::policy::managers::Manager;
use crate::core::policy::{Policy, PolicyDefaults, Selection, own_labels};
use crate::core::recreate::compose_files::{WrittenFile, copied, declared};
use crate::core::recreate::dependents::{Dependent, dependents};
use crate::core::recreate::layer_files::{may_hold_declared_files, written};
use crate::engine::{Containers, Engine, EngineError, EngineInfo, Images};
use crate::exec;
use crate::host::Host;
use crate::ports::Ports;
use crate::start_requirements;

/// What decides whether a dependent may be recreated with a container.
#[derive(Debug, Clone, Copy)]
pub struct PreflightContext<'a> {
    /// The policy for labels that a container does not have.
    pub defaults: &'a PolicyDefaults,
    /// Open updates, by container.
    pub open: &'a BTreeMap<String, OpenUpdate>,
}

/// Checks what an update of this container needs. `None` if the Engine does not answer; the
/// container is then left alone.
pub async fn of<P: Ports>(
    ports: &P,
    (ties, cache): (&mut TieIndex, &Cache),
    surroundings: &PreflightContext<'_>,
    observation: &Observation,
) -> Option<Readiness> {
    gather(ports, (ties, cache), surroundings, observation).await.ok().flatten()
}

async fn gather<P: Ports>(
    ports: &P,
    (ties, cache): (&mut TieIndex, &Cache),
    surroundings: &PreflightContext<'_>,
    observation: &Observation,
) -> Result<Option<Readiness>, EngineError> {
    let engine = ports.engine();
    let Some(original) = engine.inspect(&observation.id).await? else { return Ok(None) };
    let Some(image) = engine.inspect_image(inspect::image_id(&original)).await? else {
        return Ok(None);
    };
    let policy = observation.policy.as_ref().ok();
    // This comes first, because when the agent reads files of a container, Docker creates missing
    // sources of its mounts.
    let start_needs = start_requirements::look(ports, &original).await;
    let pulled = pulled(engine, observation).await?;
    let files = written_files(engine, &original).await?;
    let OtherContainers { documents: others, depends_on } =
        ties.others(ports, (surroundings, cache), &observation.id).await?;
    // Ties that cannot be read are skipped here; the decision refuses them.
    let direct = dependents(&original, &others, &depends_on).unwrap_or_default();
    let info = ties.engine_info(engine).await?;
    Ok(Some(Readiness {
        dependent_facts: dependent_facts(ports, surroundings, direct).await?,
        others,
        depends_on,
        declared_files: declared_files(&original, &files),
        start_needs,
        copied_files: copied(&files),
        // An image that a local tag points at has a name that keeps it.
        is_prefetched: observation.is_local()
            || is_prefetched(engine, &observation.name, pulled.as_ref()).await?,
        is_pulled: pulled.is_some(),
        api: info.api,
        can_update: info.can_update,
        unpacks_zstd: info.unpacks_zstd,
        free_bytes: free_bytes(ports.host(), info),
        probe: probe(ports, policy, &original).await,
        lock: lock(engine, policy, &original).await?,
        original,
        image,
    }))
}

/// The free space on the disk of the images, if the agent can see that disk.
#[must_use]
pub fn free_bytes(host: &impl Host, info: &EngineInfo) -> Option<u64> {
    let directories = host.image_directories(info.image_store, &info.root_dir);
    host.least_free_bytes(&directories)
}

/// The result of the label's probe on the running container, if there is a probe.
async fn probe<P: Ports>(
    ports: &P,
    policy: Option<&Policy>,
    original: &Value,
) -> Option<Result<(), String>> {
    let probe = policy?.health.probe.as_ref()?;
    Some(exec::probe::run(ports, inspect::id(original), original, probe).await)
}

/// What the Engine says about the path of the label's lock, if there is one.
async fn lock(
    engine: &impl Engine,
    policy: Option<&Policy>,
    original: &Value,
) -> Result<Option<SeenLock>, EngineError> {
    let Some(lock) = policy.and_then(Policy::update_lock) else { return Ok(None) };
    let state = match tmpfs_of(&lock.path, original) {
        Some(directory) => LockState::OnTmpfs(directory),
        None => match engine.stat(inspect::id(original), &lock.path).await {
            Ok(Some(stat)) => LockState::Present(stat.modified_at),
            Ok(None) => LockState::Absent,
            Err(error) if error.is_engine_unreachable() => return Err(error),
            Err(error) => LockState::Unknown(error.to_string()),
        },
    };
    Ok(Some(SeenLock { lock, state }))
}

/// The dependents of a container, inspected now, because they would be recreated from these
/// documents.
async fn dependent_facts<P: Ports>(
    ports: &P,
    surroundings: &PreflightContext<'_>,
    ties: Vec<Dependent>,
) -> Result<BTreeMap<String, DependentFacts>, EngineError> {
    let mut dependent_facts = BTreeMap::new();
    for tie in ties {
        let Some(original) = ports.engine().inspect(&tie.id).await? else { continue };
        let image = ports.engine().inspect_image(inspect::image_id(&original)).await?;
        let labels = inspect::labels(&original);
        let of_image = image.as_ref().map(inspect::labels).unwrap_or_default();
        let selection = own_labels::read(&labels, &of_image, surroundings.defaults);
        let policy = match &selection {
            Selection::Watched(policy) => Some(policy),
            Selection::OptedOut | Selection::BadLabels(_) => None,
        };
        let start_needs = start_requirements::look(ports, &original).await;
        let files = written_files(ports.engine(), &original).await?;
        dependent_facts.insert(
            tie.id.clone(),
            DependentFacts {
                manager: Manager::of(&tie.name, &labels),
                image: image.unwrap_or_default(),
                is_self: ports.host().own_container().as_ref() == Some(&tie.id),
                open_update: surroundings.open.get(&tie.name).cloned(),
                probe: probe(ports, policy, &original).await,
                lock: lock(ports.engine(), policy, &original).await?,
                declared_files: declared_files(&original, &files),
                start_needs,
                original,
                selection,
            },
        );
    }
    Ok(dependent_facts)
}

/// The document of the offered image, if the image is on this machine already.
async fn pulled(
    engine: &impl Engine,
    observation: &Observation,
) -> Result<Option<Value>, EngineError> {
    let (Ok(reference), Offered::Image(offer)) = (&observation.reference, &observation.offered)
    else {
        return Ok(None);
    };
    if observation.is_local() {
        return engine.inspect_image(offer.config.as_str()).await;
    }
    let pinned = format!("{}@{}", reference.familiar_name(), offer.index);
    engine.inspect_image(&pinned).await
}

async fn is_prefetched(
    engine: &impl Engine,
    container: &str,
    pulled: Option<&Value>,
) -> Result<bool, EngineError> {
    let Some(image) = pulled else { return Ok(false) };
    let name = names::next_name(container, inspect::id(image));
    Ok(engine.inspect_image(&name).await?.is_some())
}

/// How many files of a container's own layer are checked. Files that people and Compose copy are
/// near the root; a program that writes thousands of files does it further down.
const WRITTEN_FILES_MAX: usize = 64;

/// The files of the container's own layer, with their times. A document that cannot be read is
/// skipped here; the recreation refuses it.
async fn written_files(
    engine: &impl Engine,
    original: &Value,
) -> Result<Vec<WrittenFile>, EngineError> {
    let id = inspect::id(original);
    let mut paths = written(original, &engine.changes(id).await?).unwrap_or_default();
    paths.sort_by_key(|path| path.matches('/').count());
    let mut files = Vec::new();
    for path in paths.into_iter().take(WRITTEN_FILES_MAX) {
        if let Some(modified_at) = engine.modified_at(id, &path).await? {
            files.push(WrittenFile { path, modified_at });
        }
    }
    Ok(files)
}

/// Files that Compose copied into the container before its first start.
fn declared_files(original: &Value, files: &[WrittenFile]) -> Vec<String> {
    match (may_hold_declared_files(original), inspect::created_at(original)) {
        (Ok(true), Some(created_at)) => declared(created_at, files),
        _ => Vec::new(),
    }
}
