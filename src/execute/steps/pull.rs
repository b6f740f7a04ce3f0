//! Step 1, pull: all actions on images before a container is created.

use crate::core::docker::names;
use crate::core::update::plan::{ImageSource, ImageUpdate, Member, Plan};
use crate::core::update::{NewImage, Note};
use crate::engine::{Engine, EngineError, Images};
use crate::execute::{StepError, UpdateContext, images};
use crate::ports::Ports;

/// Gives each old image its keep-tag, pulls the chosen digests, and then moves the local tags.
pub(in crate::execute) async fn pull<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
) -> Result<Note, StepError> {
    let engine = context.ports.engine();
    let mut arrived = Vec::new();
    for (number, member, update) in plan.changed() {
        let (repository, tag) = member.keep_tag(update);
        engine.tag(&update.from.image_id, &repository, &tag).await?;
        let (id, fetched) = match update.source {
            ImageSource::Registry => pull_offer(context, member, update).await?,
            // It was loaded and flushed before this update began.
            ImageSource::Pushed => (update.to.index.as_str().to_owned(), true),
            ImageSource::Kept | ImageSource::Local => (update.to.config.as_str().to_owned(), false),
        };
        arrived.push(NewImage { member: number, id, fetched });
    }
    // All images are here before the first tag moves.
    for ((_, member, update), NewImage { id, .. }) in plan.changed().zip(&arrived) {
        name(engine, member, update, id).await?;
    }
    Ok(Note { new_images: arrived, ..Note::default() })
}

/// The ID of the offered image, and whether it was fetched now.
async fn pull_offer<P: Ports>(
    context: UpdateContext<'_, P>,
    member: &Member,
    update: &ImageUpdate,
) -> Result<(String, bool), StepError> {
    let (engine, image) = (context.ports.engine(), (&update.reference, &update.to));
    let pinned = images::pinned(&update.reference, &update.to);
    let fetched = engine.inspect_image(&pinned).await?.is_none();
    if fetched {
        images::fetch(context, &member.container, image).await?;
    }
    Ok((images::arrived(engine, &update.reference, &update.to).await?, fetched))
}

/// Moves the local tag to the new image. A local image has it already; if a person has moved the
/// tag since, it is theirs. The tag of a pushed image moves at the commit.
async fn name(
    engine: &impl Engine,
    member: &Member,
    update: &ImageUpdate,
    id: &str,
) -> Result<(), EngineError> {
    if matches!(update.source, ImageSource::Local | ImageSource::Pushed) {
        return Ok(());
    }
    if let Some(tag) = &update.reference.tag {
        engine.tag(id, &update.reference.familiar_name(), tag).await?;
    }
    if update.source == ImageSource::Kept {
        return Ok(());
    }
    // Removes the tag of an image that was pulled before its window: the image's own tag keeps it
    // now, and a second name would keep it from being dropped if it fails. Such an image is not as
    // good as a new pull: a power cut may have hit an earlier pull of it, before it got that tag.
    engine.remove_image(&names::next_name(&member.container, id)).await.map(|_| ())
}
