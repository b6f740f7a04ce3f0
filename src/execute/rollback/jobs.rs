//! The rollback of jobs: their copies go, and the containers that ended before keep their names.
//! What a job did to the data stays.

use serde_json::Value;

use crate::core::docker::inspect;
use crate::engine::{Engine, EngineError};
use crate::execute::StepError;
use crate::execute::inspector::Inspector;

/// Stops the copy of a job that still runs.
pub(super) async fn stop_copy(engine: &impl Engine, copy: &Value) -> Result<(), EngineError> {
    if inspect::is_running(copy) {
        engine.stop(inspect::id(copy), inspect::stop_timeout(copy)).await?;
    }
    Ok(())
}

/// Keeps the copy of a job that has ended well, under the name of the job, if nothing else is left:
/// `docker compose up` takes a copy for its own, and removes the container from before.
pub(super) async fn takes_place<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
    copy: &Value,
) -> Result<bool, StepError> {
    let has_ended_well =
        inspect::was_started(copy) && !inspect::is_running(copy) && inspect::exit_code(copy) == 0;
    let member = inspector.plan().member(number);
    let is_named = inspect::name(copy) == member.container;
    let is_alone = inspector.old_container(number).await?.is_none()
        && (is_named || inspector.name_holder(number).await?.is_none());
    if !has_ended_well || !is_alone {
        return Ok(false);
    }
    if !is_named {
        engine.rename(inspect::id(copy), &member.container).await?;
    }
    Ok(true)
}

/// Gives the container of each job its name back, which a commit that could not be recorded may
/// have taken. A container that a person created under this name keeps it.
pub(super) async fn give_names_back<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
) -> Result<(), StepError> {
    for number in inspector.plan().job_numbers() {
        let Some(old) = inspector.old_container(number).await? else { continue };
        let member = inspector.plan().member(number);
        if inspect::name(&old) == member.old_name()
            && inspector.name_holder(number).await?.is_none()
        {
            engine.rename(inspect::id(&old), &member.container).await?;
        }
    }
    Ok(())
}
