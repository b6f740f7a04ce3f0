//! Actions on images, in an update and before one.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::{StepError, UpdateContext};
use crate::core::archive::without_layers;
use crate::core::decide::offer::Offer;
use crate::core::docker::image_store::ImageStore;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::subject::Subject;
use crate::core::update::event::{Event, PullProgress};
use crate::engine::{Engine, EngineError, EngineInfo, Images};
use crate::host::Host;
use crate::ports::Ports;
use crate::registry::Registry;

/// The name that refers to exactly the offered image.
pub(super) fn pinned(reference: &Reference, offer: &Offer) -> String {
    format!("{}@{}", reference.familiar_name(), offer.index)
}

/// Pulls exactly the offered image, as soon as there is a place for a pull.
pub(super) async fn fetch<P: Ports>(
    context: UpdateContext<'_, P>,
    container: &str,
    (reference, offer): (&Reference, &Offer),
) -> Result<(), StepError> {
    let UpdateContext { ports, listener, stop, places } = context;
    let _place = places.for_pull(stop).await?;
    let registry = &reference.registry;
    let credentials = ports.registry().credentials(registry).await;
    let credentials = credentials.map_err(|error| StepError::surroundings(error.to_string()))?;
    let fetched = AtomicU64::new(0);
    let hear = |progress: &PullProgress| {
        fetched.store(progress.current, Ordering::Relaxed);
        let (subject, registry) = (Subject::container(container), registry.clone());
        let progress = progress.clone();
        listener.receive(&Event::Pulling { subject, registry, progress });
    };
    let (index, platform) = (&offer.index, &offer.platform);
    let pull = ports.engine().pull(reference, index, platform, credentials, &hear);
    tokio::select! {
        answer = pull => answer.map_err(pull_failed)?,
        () = stop.cancelled() => return Err(StepError::Asked),
    }
    let bytes = fetched.into_inner();
    listener.receive(&Event::Pulled { registry: registry.clone(), bytes });
    Ok(())
}

/// The ID of the pulled image. Checks that it is the image that was decided on.
pub(super) async fn arrived(
    engine: &impl Engine,
    reference: &Reference,
    offer: &Offer,
) -> Result<String, StepError> {
    let pinned = pinned(reference, offer);
    let Some(image) = engine.inspect_image(&pinned).await? else {
        return Err(StepError::surroundings(format!("{pinned} is missing after its pull")));
    };
    let id = inspect::id(&image).to_owned();
    if offer.has_id(&id) {
        return Ok(id);
    }
    let decided = &offer.manifest;
    Err(StepError::surroundings(format!("the Engine pulled {id} instead of {decided}")))
}

/// Flushes the Engine's disk: its data directory, and the directory of the images. Without the
/// flush a power cut leaves an image that is listed as present and has files of length zero, and a
/// second pull does not repair it.
pub(super) async fn flush<P: Ports>(ports: &P) -> Result<(), StepError> {
    let EngineInfo { root_dir, image_store, .. } = ports.engine().info().await?;
    let mut directories = ports.host().image_directories(image_store, &root_dir);
    if !directories.contains(&root_dir) {
        directories.push(root_dir);
    }
    let flushed = ports.host().flush(&directories).await;
    flushed.map_err(|error| StepError::surroundings(format!("cannot flush the disk: {error}")))
}

/// Removes an image that has no name and no container any more. If a container uses it since the
/// list was read, the Engine refuses; the next try sees that it is in use.
///
/// # Errors
/// The Engine does not answer, or cannot remove it.
pub async fn drop_if_unused(engine: &impl Engine, id: &str) -> Result<(), EngineError> {
    let Some(image) = engine.inspect_image(id).await? else { return Ok(()) };
    // The containerd image store lists a name with a digest among the tags. It is not a tag.
    let tags = image.pointer("/RepoTags").and_then(Value::as_array);
    let mut tags = tags.into_iter().flatten().filter_map(Value::as_str);
    if tags.any(|tag| !tag.contains('@')) {
        return Ok(());
    }
    let in_use = engine.list().await?;
    if in_use.iter().any(|container| container.image_id == id) {
        return Ok(());
    }
    // An image that was pulled from two repositories is removed name by name.
    let names = image.pointer("/RepoDigests").and_then(Value::as_array);
    let names: Vec<_> = names.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.len() > 1 {
        for name in names {
            engine.remove_image(name).await?;
        }
    }
    engine.remove_image(id).await.map(|_| ())
}

/// Removes the layers that an interrupted load or pull left without an image. The Engine notes a
/// layer on its disk before the layer's files are there. So a power cut can leave a layer with
/// empty files, and every later load or pull of the image would take this layer instead of its own.
/// The Engine removes layers only with an image. So it gets an image of these layers, which is
/// removed at once. `diff_ids` are the digests of the unpacked layers, in their order.
///
/// # Errors
/// The Engine does not answer, or a proxy before it does not let a load through.
pub(super) async fn remove_loose_layers(
    engine: &impl Engine,
    diff_ids: &[Digest],
) -> Result<(), EngineError> {
    // A containerd collects what belongs to no image.
    if engine.info().await?.image_store != ImageStore::Engine {
        return Ok(());
    }
    for count in (1..=diff_ids.len()).rev() {
        let archive = Bytes::from(without_layers(&diff_ids[..count]));
        let answer = engine.load(stream::iter([Ok(archive)]).boxed()).await?;
        if let Ok(id) = answer.image() {
            engine.remove_image(id).await?;
            return Ok(());
        }
    }
    Ok(())
}

fn pull_failed(error: EngineError) -> StepError {
    match error {
        error if error.is_engine_unreachable() => error.into(),
        error => StepError::surroundings(format!("the pull failed: {error}")),
    }
}
