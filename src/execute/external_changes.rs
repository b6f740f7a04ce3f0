//! Detects what people, Compose or the Engine do with the containers of an update during the
//! update.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StepError;
use super::compose_race::{START_LIMIT, pause};
use super::inspector::Inspector;
use crate::core::docker::inspect;
use crate::core::recreate::dependents::{Dependent, DependsOn, direct_dependents};
use crate::core::update::history::Cause;
use crate::engine::{Engine, Listed};

/// How long a person or Compose may take to put another container in the place of a new container
/// that they stopped or removed. Compose stops, removes and renames, each in fractions of a second
/// on a Pi.
pub(super) const TAKE_OVER_LIMIT: Duration = Duration::from_secs(3);

/// Checks that there is no new dependent. It would break at the switch, and is not part of the
/// plan. The next round finds it.
pub(super) async fn check_no_new_dependents(
    engine: &impl Engine,
    inspector: Inspector<'_, impl Engine>,
) -> Result<(), StepError> {
    let plan = inspector.plan();
    let is_ours = |listed: &Listed| {
        plan.all().any(|member| {
            let names = [member.new_name(), member.old_name()];
            member.old_container == listed.id || names.contains(&listed.name)
        })
    };
    let mut others = Vec::new();
    for listed in engine.list().await?.iter().filter(|listed| !is_ours(listed)) {
        others.extend(engine.inspect(&listed.id).await?);
    }
    for number in plan.numbers() {
        let member = inspector.header().original_of(number);
        let joined = direct_dependents(member, &others, &DependsOn::default())
            .map_err(|error| StepError::surroundings(error.to_string()))?;
        if let Some(Dependent { name, how, on, .. }) = joined.first() {
            let detail = format!("{name} {} since the update was planned", how.of(on));
            return Err(StepError::Cause(Cause::person(detail)));
        }
    }
    Ok(())
}

/// Checks that the old containers still run. If a person has stopped or removed one, a new
/// container must not start in its place.
pub(super) async fn check_old_containers_run(
    inspector: Inspector<'_, impl Engine>,
) -> Result<(), StepError> {
    for number in inspector.members() {
        let old = inspector.old_container(number).await?;
        let ran = inspect::is_running(inspector.header().original_of(number));
        if ran && !old.as_ref().is_some_and(inspect::is_running) {
            let end = if old.is_some() { "stopped" } else { "removed" };
            let detail =
                format!("a person or another program {end} the old container during the update");
            return Err(StepError::Cause(Cause::person(inspector.plan().naming(number, detail))));
        }
    }
    Ok(())
}

/// Checks that no old container runs again under its parked name. The Engine or a person would have
/// started it, and two containers would serve; then the proven one stays.
pub(super) async fn check_old_containers_stayed_down(
    inspector: Inspector<'_, impl Engine>,
) -> Result<(), StepError> {
    for number in inspector.members() {
        if inspector.old_runs(number).await? {
            let detail = "the old container was started again during the update";
            let detail = inspector.plan().naming(number, detail);
            return Err(StepError::Cause(Cause::interrupted(detail)));
        }
    }
    Ok(())
}

/// Waits a moment for a container that replaces a new one that a person or Compose ended, and
/// returns whether there is one. `docker compose up` ends a container only to replace it. A
/// replacement of a container that gets a new image counts once it runs, because no other one
/// serves.
pub(super) async fn await_replacement(
    inspector: Inspector<'_, impl Engine>,
    stop: &CancellationToken,
    number: usize,
) -> Result<bool, StepError> {
    let begun = Instant::now();
    loop {
        let external_container = inspector.external_container(number, &[]).await?;
        let keeps_image = inspector.plan().member(number).update().is_none();
        let is_there = |made: &Value| keeps_image || inspect::is_running(made);
        if external_container.as_ref().is_some_and(is_there) {
            return Ok(true);
        }
        let limit = if external_container.is_some() { START_LIMIT } else { TAKE_OVER_LIMIT };
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        pause(stop).await?;
    }
}
