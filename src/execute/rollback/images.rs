//! The rollback of images: the local tag, the keep-tag and the pulled image.

use super::Attempt;
use crate::core::docker::inspect;
use crate::core::policy::managers::Manager;
use crate::core::update::plan::{ImageSource, ImageUpdate};
use crate::core::update::rollback::tag_to_restore;
use crate::engine::{Containers, Engine, EngineError, Images, Listed};
use crate::execute::images::{drop_if_unused, pinned, remove_loose_layers};
use crate::execute::inspector::Inspector;
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// Moves the local tags back to the old images, removes the keep-tags of this update, and removes
/// the new images that no container uses. If one cannot be removed in the last try, this is
/// reported, and the update still ends.
pub(super) async fn restore<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    attempt: Attempt,
) -> Result<(), StepError> {
    for (number, _, update) in inspector.plan().changed() {
        restore_of(context, inspector, (number, update), attempt).await?;
    }
    Ok(())
}

async fn restore_of<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    (number, update): (usize, &ImageUpdate),
    attempt: Attempt,
) -> Result<(), StepError> {
    let (engine, plan) = (context.ports.engine(), inspector.plan());
    restore_tag(context, inspector, (number, update)).await?;
    let (repository, tag) = plan.member(number).keep_tag(update);
    match engine.remove_image(&format!("{repository}:{tag}")).await {
        // The containerd image store does not remove an image that runs, and this would be its last
        // name if a container that this agent did not create uses the local tag.
        Err(EngineError::Conflict { message }) if attempt == Attempt::Last => {
            context.warn(plan, format!("{repository}:{tag} stays: {message}"));
        }
        done => _ = done?,
    }
    if update.source == ImageSource::Pushed {
        engine.remove_image(&plan.member(number).push_name(update)).await?;
    }
    // An image that a person built or pulled is not removed; it only loses the tag.
    let pulled = pulled_image(engine, inspector, (number, update)).await?;
    let Some(image) = pulled.filter(|_| update.source != ImageSource::Local) else {
        return forget_layers(engine, update).await;
    };
    match drop_if_unused(engine, &image).await {
        Err(error) if attempt != Attempt::Last || error.is_engine_unreachable() => {
            return Err(error.into());
        }
        Err(error) => context.warn(plan, format!("the failed image stays on disk: {error}")),
        Ok(()) => {}
    }
    Ok(())
}

/// A pull that a power cut interrupted may leave layers without their files.
async fn forget_layers(engine: &impl Engine, update: &ImageUpdate) -> Result<(), StepError> {
    if update.source != ImageSource::Registry {
        return Ok(());
    }
    match remove_loose_layers(engine, &update.to.diff_ids).await {
        Err(error) if error.is_engine_unreachable() => Err(error.into()),
        // A proxy before the Engine may not let a load through. The update ends all the same.
        _ => Ok(()),
    }
}

/// Moves the local tag back, unless another container already runs the new image.
pub(super) async fn restore_tag<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    (number, update): (usize, &ImageUpdate),
) -> Result<(), StepError> {
    let (engine, plan) = (context.ports.engine(), inspector.plan());
    let pulled = pulled_image(engine, inspector, (number, update)).await?;
    let (Some(tag), Some(new)) = (&update.reference.tag, pulled) else { return Ok(()) };
    let ours = &inspector.progress().known.new_containers;
    // A command of `docker compose run` ends by itself, and needs no tag.
    let is_one_off = |line: &Listed| Manager::of(&line.name, &line.labels) == Some(Manager::OneOff);
    let others =
        |line: &Listed| line.image_id == new && !ours.contains(&line.id) && !is_one_off(line);
    if engine.list().await?.iter().any(others) {
        return Ok(());
    }
    let name = update.reference.familiar_name();
    match tag_to_restore(inspector.header(), inspector.progress(), number, &new) {
        Some(before) => match engine.tag(before, &name, tag).await {
            Err(error) if error.is_not_found() => {
                let detail = format!("{name}:{tag} cannot point at {before} again: it is gone");
                context.warn(plan, detail);
                Ok(())
            }
            done => Ok(done?),
        },
        None => {
            engine.remove_image(&format!("{name}:{tag}")).await?;
            Ok(())
        }
    }
}

/// The new image of a member, even if the journal does not know it yet: a pull that a power cut
/// interrupted leaves an image that is listed as present and has empty files.
async fn pulled_image<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    (number, update): (usize, &ImageUpdate),
) -> Result<Option<String>, EngineError> {
    if let Some(known) = inspector.progress().known.new_image_of(number) {
        return Ok(Some(known.to_owned()));
    }
    if update.source == ImageSource::Pushed {
        return Ok(Some(update.to.index.to_string()));
    }
    if update.source != ImageSource::Registry {
        return Ok(None);
    }
    let image = engine.inspect_image(&pinned(&update.reference, &update.to)).await?;
    let id = image.map(|image| inspect::id(&image).to_owned());
    Ok(id.filter(|id| *id != update.from.image_id))
}
