//! Step 8, clean: removes the old containers, and images that are not needed any more.

use crate::core::decide::memory::Refusal;
use crate::core::decide::origin::RememberedOrigin;
use crate::core::deployment::ClientAct;
use crate::core::docker::{inspect, names};
use crate::core::subject::Subject;
use crate::core::update::plan::{ImageSource, Member, Plan};
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, Images, ListedImage};
use crate::execute::engine_return::{TRIES_MAX, await_next_attempt};
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, UpdateContext, images};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// Cleans up, with at most three tries. Waits for an Engine that is away. A committed update is
/// never undone, so anything that cannot be removed now is left to the next round.
pub(in crate::execute) async fn clean<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
) -> Result<(), StepError> {
    for _ in 1..TRIES_MAX {
        match try_to_clean(context, journal, false).await {
            Err(StepError::Engine(error)) => {
                await_next_attempt(context, &journal.header.plan, "the clean-up", &error).await?;
            }
            done => return done,
        }
    }
    try_to_clean(context, journal, true).await
}

/// Removes the old containers and images that are not needed any more. If an image cannot be
/// removed in the last try, this is reported, and the update still ends.
async fn try_to_clean<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
    is_last: bool,
) -> Result<(), StepError> {
    remove_old_containers(context.ports.engine(), &journal.header.plan).await?;
    match drop_old_images(context, journal).await {
        Err(StepError::Engine(error)) if !is_last || error.is_engine_unreachable() => {
            return Err(error.into());
        }
        Err(error) => {
            context.warn(&journal.header.plan, format!("old images stay on disk: {error}"));
        }
        Ok(()) => {}
    }
    images::flush(context.ports).await?;
    Ok(remember_success(context.ports, journal)?)
}

/// Removes the old containers. One that a person started is stopped first.
async fn remove_old_containers(engine: &impl Engine, plan: &Plan) -> Result<(), EngineError> {
    for number in plan.all_numbers().rev() {
        let member = plan.member(number);
        match engine.remove(&member.old_container, false).await {
            Err(EngineError::Conflict { .. }) => {
                stop_old_container(engine, member).await?;
                engine.remove(&member.old_container, false).await?;
            }
            done => _ = done?,
        }
    }
    Ok(())
}

/// Removes the oldest keep-tags beyond `images.keep`, and their images, also those of an earlier
/// try that set a tag and failed.
async fn drop_old_images<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
) -> Result<(), StepError> {
    let engine = context.ports.engine();
    let changed: Vec<_> = journal.header.plan.changed().map(|(number, ..)| number).collect();
    let mut untagged = Ok(());
    for number in changed {
        untagged = drop_old_images_of(context, journal, number).await?.and(untagged);
    }
    for id in &journal.progress.known.dropped {
        images::drop_if_unused(engine, id).await?;
    }
    Ok(untagged?)
}

/// The same for one member, without the images themselves. The inner result is about tags that
/// could not be removed.
async fn drop_old_images_of<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
    number: usize,
) -> Result<Result<(), EngineError>, StepError> {
    let engine = context.ports.engine();
    let member = journal.header.plan.member(number);
    let keep = member.update().map_or(0, |update| update.images_keep);
    let repository = names::keep_repository(&member.container);
    let images = engine.list_images(&repository).await?;
    let present = journal.progress.known.new_image_of(number).map(str::to_owned);
    let (present, kept): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|image| Some(&image.id) == present.as_ref());
    let surplus = surplus_images(engine, keep, kept).await?;
    if !surplus.is_empty() {
        let dropped = surplus.iter().map(|image| image.id.clone()).collect();
        let note = Note { dropped, ..Note::default() };
        context.write(journal, Step::Clean, Mark::Started, note)?;
    }
    let mut untagged = drop_push_tag(engine, journal.header.plan.member(number)).await;
    // An image that runs again after a rollback needs no keep-tag as long as it has a name.
    let present = present.iter().filter(|image| image.tags.len() > 1);
    for tag in present.chain(&surplus).flat_map(|image| &image.tags) {
        if names::is_keep_tag(tag, &repository) {
            untagged = engine.remove_image(tag).await.map(|_| ()).and(untagged);
        }
    }
    Ok(untagged)
}

/// Removes the tag that kept a pushed image until a container ran it. The user's tag keeps it now,
/// and a second name would keep it from being dropped later.
async fn drop_push_tag(engine: &impl Engine, member: &Member) -> Result<(), EngineError> {
    match member.update() {
        Some(update) if update.source == ImageSource::Pushed => {
            engine.remove_image(&member.push_name(update)).await.map(|_| ())
        }
        _ => Ok(()),
    }
}

/// The kept images beyond `images.keep`, by the age of their tags.
async fn surplus_images(
    engine: &impl Engine,
    keep: u32,
    images: Vec<ListedImage>,
) -> Result<Vec<ListedImage>, EngineError> {
    let mut kept = Vec::new();
    for image in images {
        let document = engine.inspect_image(&image.id).await?.unwrap_or_default();
        let tagged_at = inspect::text(&document, "/Metadata/LastTagTime").to_owned();
        kept.push((tagged_at, image));
    }
    kept.sort_by(|a, b| b.0.cmp(&a.0));
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    Ok(kept.into_iter().skip(keep).map(|(_, image)| image).collect())
}

/// Remembers all digests of the verified image, and the image before it as the target of a
/// rollback. After a rollback by hand the image that the person left is refused.
fn remember_success<P: Ports>(ports: &P, journal: &UpdateJournal) -> Result<(), JournalError> {
    let mut memory = ports.state().memory()?;
    for (number, member, update) in journal.header.plan.changed() {
        let subject = Subject::container(&member.container);
        let digests = update.to.digests();
        memory.succeed(&subject, &digests, &update.from.image_id);
        if let Some(image) = journal.progress.known.new_image_of(number) {
            for digest in &digests {
                memory.learn(image, digest);
            }
            match (update.source, &journal.header.plan.by) {
                (ImageSource::Registry, _) => {
                    memory.learn_origin(image, &update.reference, RememberedOrigin::Pulled);
                }
                (ImageSource::Pushed, Some(by)) if !update.changes_only_definition() => {
                    let act = ClientAct { by: by.clone(), at: journal.header.started_at };
                    let layers = update.to.layers.iter().map(|layer| layer.digest.clone());
                    memory.learn_push(image, act, layers.collect());
                }
                _ => {}
            }
        }
        if update.source == ImageSource::Kept {
            let digests = update.from.digests.clone();
            let detail = "a person rolled back from it".to_owned();
            let refusal = Refusal { digests, at: ports.host().now(), detail };
            memory.refuse(&subject, refusal);
        }
    }
    ports.state().remember(&memory)
}
