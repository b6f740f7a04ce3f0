//! Handles a `docker compose up` in the middle of an update. Compose recreates each service of a
//! project next to the present one, from a list that it made at its start, and does not know of the
//! update.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StepError;
use super::external_changes::TAKE_OVER_LIMIT;
use super::inspector::Inspector;
use crate::core::docker::{inspect, names};
use crate::core::policy::own_labels::Labels;
use crate::core::recreate::{ReplacedContainer, is_same_project, is_same_service};
use crate::core::update::history::Fault;
use crate::core::update::is_taken_away;
use crate::engine::{Engine, EngineError, Listed};

/// How long Compose may take to start the containers that it created: it first recreates all
/// services, which also stops other services, and then starts them.
pub(super) const START_LIMIT: Duration = Duration::from_secs(15);

/// How old Compose's list may be when it removes, by its ID, a container that had its parked name
/// when the list was made.
const LIST_AGE_MAX: Duration = Duration::from_secs(10);

/// The pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the end of a running Compose before anything is touched. If Compose gave up earlier
/// and left containers that were never started, each update waits this time once, and continues.
pub(super) async fn let_compose_finish(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
) -> Result<(), StepError> {
    await_compose(inspector, stop, is_same_project).await.map(|_| ())
}

/// Whether a person removed all containers of the update and puts nothing in their place. Waits for
/// the end of a running Compose. If Compose gave up in the middle, the answer is no.
pub(super) async fn is_removed_by_a_person(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
) -> Result<bool, StepError> {
    let cause = inspector.progress().failed.as_ref();
    if cause.is_none_or(|cause| cause.fault != Fault::Person) {
        return Ok(false);
    }
    let has_ended = await_compose(inspector, stop, is_same_service).await?;
    let is_taken_away = is_taken_away(inspector.progress(), &inspector.actual_state().await?);
    Ok(is_taken_away && has_ended && no_external_container(inspector).await?)
}

/// Whether no person created a container in place of a member that gets a new image.
async fn no_external_container(inspector: Inspector<'_, impl Engine>) -> Result<bool, StepError> {
    for (number, ..) in inspector.plan().changed() {
        if inspector.external_container(number, &[]).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether Compose removed an old container as one too many, because it took the new one beside it
/// for the service: then nothing would be left after the new one is removed. `docker compose down`
/// ends both, and a person who removes a container of no project wants it gone.
pub(super) async fn is_lost_to_compose(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
) -> Result<bool, StepError> {
    for number in inspector.members() {
        let labels = inspect::labels(inspector.header().original_of(number));
        if is_same_project(&labels, &labels) && is_lost(inspector, stop, number).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn is_lost(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
    number: usize,
) -> Result<bool, StepError> {
    let begun = Instant::now();
    loop {
        let serves_otherwise = inspector.old_runs(number).await?
            || inspector.external_container(number, &[]).await?.is_some();
        if serves_otherwise || !inspector.new_runs(number).await? {
            return Ok(false);
        }
        // Compose stops a container, and then removes it.
        if begun.elapsed() >= TAKE_OVER_LIMIT {
            return Ok(inspector.old_container(number).await?.is_none());
        }
        pause(stop).await?;
    }
}

/// Watches the restored containers after a rollback. Compose may have seen one under its parked
/// name, and remove it later although it serves again; then it is created again. A person who
/// removes a container does so at once.
pub(super) async fn check_restored_stay(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
    restored: &[ReplacedContainer],
) -> Result<(), StepError> {
    let labels = inspect::labels(inspector.header().original_of(0));
    let cause = inspector.progress().failed.as_ref();
    let may_be_meant = is_same_project(&labels, &labels)
        && cause.is_some_and(|cause| cause.fault != Fault::Person);
    let limit = if may_be_meant { LIST_AGE_MAX } else { Duration::ZERO };
    let begun = Instant::now();
    loop {
        for (number, ReplacedContainer { name, .. }) in restored.iter().enumerate() {
            if inspector.name_holder(number).await?.is_none() {
                let message = format!("{name} was removed during the rollback");
                return Err(EngineError::Conflict { message }.into());
            }
        }
        if restored.is_empty() || begun.elapsed() >= limit {
            return Ok(());
        }
        pause(stop).await?;
    }
}

/// Whether Compose ended within its time.
async fn await_compose(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
    is_meant: fn(&Labels, &Labels) -> bool,
) -> Result<bool, StepError> {
    let begun = Instant::now();
    while is_half_made(inspector, is_meant).await? {
        if begun.elapsed() >= START_LIMIT {
            return Ok(false);
        }
        pause(stop).await?;
    }
    Ok(true)
}

/// Whether there is a container that Compose has created and not started yet.
async fn is_half_made(
    inspector: Inspector<'_, impl Engine>,
    is_meant: fn(&Labels, &Labels) -> bool,
) -> Result<bool, StepError> {
    let original = inspect::labels(inspector.header().original_of(0));
    if !is_same_project(&original, &original) {
        return Ok(false);
    }
    let new = &inspector.progress().known.new_containers;
    let is_half_made = |listed: &Listed| {
        listed.state == "created"
            // Created by this update, or by another one in flight.
            && !names::is_ours(&listed.name)
            && !new.contains(&listed.id)
            && is_meant(&original, &listed.labels)
    };
    Ok(inspector.list().await?.iter().any(is_half_made))
}

/// The pause between two looks.
pub(super) async fn pause(stop: &CancellationToken) -> Result<(), StepError> {
    tokio::select! {
        () = stop.cancelled() => Err(StepError::Asked),
        () = tokio::time::sleep(LOOK_INTERVAL) => Ok(()),
    }
}
