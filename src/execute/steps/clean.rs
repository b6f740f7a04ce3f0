//! Step 8, clean: the old containers go, and images that nobody needs.

use crate::core::decide::memory::Refusal;
use crate::core::decide::origin::RememberedOrigin;
use crate::core::docker::{inspect, names};
use crate::core::update::plan::{ImageSource, Plan};
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, ListedImage};
use crate::execute::engine_return::{TRIES_MAX, await_next_attempt};
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, UpdateContext, images};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// Cleans up, three times at most; an Engine that is away is waited for. A committed update is
/// never taken back, so what cannot be removed now is left to the next round.
pub(in crate::execute) async fn clean<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
) -> Result<(), StepError> {
    for _ in 1..TRIES_MAX {
        match try_to_clean(context, journal, false).await {
            Err(StepError::Engine(error)) => {
                await_next_attempt(context, &journal.header.plan, "cleaning up", &error).await?;
            }
            done => return done,
        }
    }
    try_to_clean(context, journal, true).await
}

/// Removes the old containers and images that nobody needs. An image that cannot be removed in the
/// last try either is no reason to keep the update open: it is told, and left.
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

/// The old containers serve no more. One that a person started by hand is stopped first.
async fn remove_old_containers(engine: &impl Engine, plan: &Plan) -> Result<(), EngineError> {
    for number in plan.numbers().rev() {
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

/// Drops keep-tags beyond the number that the user wants, the oldest first, and their images: those
/// of an earlier try as well, which took a tag and came no further.
async fn drop_old_images<P: Ports>(
    context: UpdateContext<'_, P>,
    journal: &mut UpdateJournal,
) -> Result<(), StepError> {
    let engine = context.ports.engine();
    let plan = &journal.header.plan;
    let repository = names::keep_repository(&plan.main.container);
    let images = engine.list_images(&repository).await?;
    let present = journal.progress.known.new_image.clone();
    let (present, kept): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|image| Some(&image.id) == present.as_ref());
    let surplus = surplus_images(engine, plan.images_keep, kept).await?;
    if !surplus.is_empty() {
        let dropped = surplus.iter().map(|image| image.id.clone()).collect();
        let note = Note { dropped, ..Note::default() };
        context.write(journal, Step::Clean, Mark::Started, note)?;
    }
    let mut untagged = Ok(());
    // What serves again after a rollback needs no tag to be kept, as long as it has a name.
    let present = present.iter().filter(|image| image.tags.len() > 1);
    for tag in present.chain(&surplus).flat_map(|image| &image.tags) {
        if names::is_keep_tag(tag, &repository) {
            untagged = engine.remove_image(tag).await.map(|_| ()).and(untagged);
        }
    }
    for id in &journal.progress.known.dropped {
        images::drop_if_unused(engine, id).await?;
    }
    Ok(untagged?)
}

/// The kept images that are more than the user wants, by the age of their tags.
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

/// The image that proved itself is known under all of its digests, the one before it is where a
/// rollback would go, and one that a person left behind is refused.
fn remember_success<P: Ports>(ports: &P, journal: &UpdateJournal) -> Result<(), JournalError> {
    let plan = &journal.header.plan;
    let mut memory = ports.state().memory()?;
    let digests = plan.to.digests();
    memory.succeed(&plan.subject(), &digests, &plan.from.image_id);
    if let Some(image) = &journal.progress.known.new_image {
        for digest in &digests {
            memory.learn(image, digest);
        }
        if plan.source == ImageSource::Registry {
            memory.learn_origin(image, &plan.reference, RememberedOrigin::Pulled);
        }
    }
    if plan.source == ImageSource::Kept {
        let digests = plan.from.digests.clone();
        let detail = "a person rolled back from it".to_owned();
        let refusal = Refusal { digests, at: ports.host().now(), detail };
        memory.refuse(&plan.subject(), refusal);
    }
    ports.state().remember(&memory)
}
