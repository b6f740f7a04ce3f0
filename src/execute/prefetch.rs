//! Images that are fetched ahead of the window in which they may replace.
//!
//! No container is touched, so no journal is needed: what a cut leaves behind is an image, and the
//! next round fetches it again, names it, or drops it.

use std::collections::BTreeSet;

use super::{StepError, UpdateContext, images};
use crate::core::decide::Fetch;
use crate::core::decide::offer::Offer;
use crate::core::decide::pending::{PendingUpdates, PrefetchedImage};
use crate::core::docker::names;
use crate::core::docker::reference::Reference;
use crate::core::update::event::Event;
use crate::engine::{Engine, EngineError};
use crate::ports::Ports;

/// Fetches an image and gives it a name that keeps it until its window opens, so that `image prune`
/// spares it. The name comes last: an image that has it is whole on the disk.
///
/// # Errors
/// It could not be fetched, or flushed, or the agent was asked to stop. No container was touched.
pub async fn prefetch<P: Ports>(
    context: UpdateContext<'_, P>,
    fetch: &Fetch,
) -> Result<(), StepError> {
    let Fetch { container, reference, offer, .. } = fetch;
    prefetch_and_tag(context, (container, reference, offer)).await?;
    let (container, to) = (container.clone(), offer.index.clone());
    context.listener.receive(&Event::FetchedAhead { container, to });
    Ok(())
}

/// The same without an event: the update begins at once, unless its hooks are against it.
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

/// Every image that was fetched ahead.
///
/// # Errors
/// The Engine does not give its list of images.
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

/// Drops images that were fetched ahead and that no update waits for; one in use only loses its
/// name. `owners` are the containers that may have such images. Says whether any are left.
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
