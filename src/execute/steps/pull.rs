//! Step 1, pull: all actions on images before a container is created.

use crate::core::docker::names;
use crate::core::update::Note;
use crate::core::update::plan::{ImageSource, Plan};
use crate::engine::{Engine, EngineError, Images};
use crate::execute::{StepError, UpdateContext, images};
use crate::ports::Ports;

/// Gives the old image its keep-tag, pulls the chosen digest, and then moves the local tag.
pub(in crate::execute) async fn pull<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
) -> Result<Note, StepError> {
    let engine = context.ports.engine();
    let (repository, tag) = plan.keep_tag();
    engine.tag(&plan.from.image_id, &repository, &tag).await?;
    match plan.source {
        ImageSource::Registry => pull_offer(context, plan).await,
        ImageSource::Kept => Ok(use_kept_image(engine, plan).await?),
        // The tag points at the image already. If a person has moved it since, it is theirs.
        ImageSource::Local => {
            let id = plan.to.config.as_str().to_owned();
            Ok(Note { new_image: Some(id), ..Note::default() })
        }
    }
}

async fn pull_offer<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
) -> Result<Note, StepError> {
    let engine = context.ports.engine();
    let pinned = images::pinned(&plan.reference, &plan.to);
    let fetched = engine.inspect_image(&pinned).await?.is_none();
    if fetched {
        let image = (&plan.reference, &plan.to);
        images::fetch(context, &plan.main.container, image).await?;
    }
    let id = images::arrived(engine, &plan.reference, &plan.to).await?;
    if let Some(tag) = &plan.reference.tag {
        engine.tag(&id, &plan.reference.familiar_name(), tag).await?;
    }
    // Removes the tag of an image that was pulled before its window: the image's own tag keeps it
    // now, and a second name would keep it from being dropped if it fails. Such an image is not as
    // good as a new pull: a power cut may have hit an earlier pull of it, before it got that tag.
    engine.remove_image(&names::next_name(&plan.main.container, &id)).await?;
    Ok(Note { new_image: Some(id), fetched, ..Note::default() })
}

/// A rollback by hand needs no registry: the image is on this machine, and only the local tag
/// moves.
async fn use_kept_image(engine: &impl Engine, plan: &Plan) -> Result<Note, EngineError> {
    let id = plan.to.config.as_str().to_owned();
    if let Some(tag) = &plan.reference.tag {
        engine.tag(&id, &plan.reference.familiar_name(), tag).await?;
    }
    Ok(Note { new_image: Some(id), ..Note::default() })
}
