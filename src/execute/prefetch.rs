//! Images that are pulled before the window in which they may replace a container.
//!
//! No container is touched, so no journal is needed: after a power cut the next round pulls the
//! image again, tags it, or drops it.

use std::collections::BTreeSet;

use super::{StepError, UpdateContext, images};
use crate::core::decide::Fetch;
use crate::core::decide::offer::Offer;
use crate::core::decide::pending::{PendingUpdates, PrefetchedImage};
use crate::core::docker::names;
use crate::core::docker::reference::Reference;
use crate::core::subject::Subject;
use crate::core::update::event::Event;
use crate::engine::{Engine, EngineError, Images};
use crate::ports::Ports;

/// Pulls an image and gives it a local tag until its window opens, so that `image prune` does not
/// remove it. The tag comes last: an image with this tag is complete on the disk.
///
/// # Errors
/// It could not be pulled or flushed, or the agent was asked to stop. No container was touched.
pub async fn prefetch<P: Ports>(
    context: UpdateContext<'_, P>,
    fetch: &Fetch,
) -> Result<(), StepError> {
    let Fetch { container, reference, offer, .. } = fetch;
    prefetch_and_tag(context, (container, reference, offer)).await?;
    let (subject, to) = (Subject::container(container), offer.index.clone());
    context.listener.receive(&Event::FetchedAhead { subject, to });
    Ok(())
}

/// The same without an event, for an update with pre-update hooks: it begins at once unless a hook
/// holds it.
///
/// # Errors
/// As above.
pub async fn prefetch_and_tag<P: Ports>(
    context: UpdateContext<'_, P>,
    (container, reference, offer): (&str, &Reference, &Offer),
) -> Result<(), StepError> {
    let engine = context.ports.engine();
    if engine.inspect_image(&images::pinned(reference, offer)).await?.is_none() {
        images::fetch(context, container, (reference, offer)).await?;
    }
    let id = images::arrived(engine, reference, offer).await?;
    images::flush(context.ports).await?;
    engine.tag(&id, &names::next_repository(container), &names::keep_tag(&id)).await?;
    Ok(())
}

/// All images that were pulled before their window.
///
/// # Errors
/// The Engine did not return its list of images.
pub async fn fetched(engine: &impl Engine) -> Result<Vec<PrefetchedImage>, EngineError> {
    let mut found = Vec::new();
    for pattern in names::NEXT_PATTERNS {
        for image in engine.list_images(pattern).await? {
            let ours = image.tags.into_iter().filter(|name| names::is_next_name(name));
            found.extend(ours.map(|name| PrefetchedImage { name, image_id: image.id.clone() }));
        }
    }
    Ok(found)
}

/// Drops images that were pulled before their window and that no update waits for. An image in use
/// only loses its tag. `owners` are the containers that may have such images. Returns whether any
/// are left.
///
/// # Errors
/// The Engine does not answer.
pub async fn drop_superseded(
    engine: &impl Engine,
    pending: &PendingUpdates,
    owners: &BTreeSet<String>,
) -> Result<bool, EngineError> {
    let found = fetched(engine).await?;
    let before = found.len();
    let superseded = pending.superseded(found, owners);
    for image in &superseded {
        engine.remove_image(&image.name).await?;
        images::drop_if_unused(engine, &image.image_id).await?;
    }
    Ok(superseded.len() < before)
}
