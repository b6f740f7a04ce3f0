//! Step 7, commit: the new containers are what there is from now on.

use super::{Begun, removed};
use crate::core::recreate::RestartPolicy;
use crate::engine::{Engine, EngineError};
use crate::execute::inspector::Inspector;
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, images};
use crate::ports::Ports;

/// Takes the right to be started from the old containers, then gives the users' own policies to the
/// new ones. A cut between the calls leaves neither with that right, or only dependents; recovery
/// then starts what has proved itself.
pub(in crate::execute) async fn commit<P: Ports>(
    ports: &P,
    inspector: Inspector<'_, P::Engine>,
    begun: Begun,
) -> Result<(), StepError> {
    let (engine, plan, new) = (ports.engine(), inspector.plan(), inspector.new_ids()?);
    let has_policy = |number: &usize| !plan.member(*number).restart_policy.is_no();
    for number in inspector.members().into_iter().rev().filter(has_policy) {
        let old = &plan.member(number).old_container;
        engine.set_restart_policy(old, &RestartPolicy::no()).await.or_else(not_there)?;
    }
    for (number, id) in new.iter().filter(|(number, _)| has_policy(number)) {
        let policy = &plan.member(*number).restart_policy;
        let given = engine.set_restart_policy(id, policy).await;
        given.map_err(|error| removed(plan, begun, "new", error, *number))?;
    }
    // An Engine that was restarted just now has started the old ones, and not the proven ones.
    for number in plan.numbers().rev() {
        if inspector.old_runs(number).await? {
            stop_old_container(engine, plan.member(number)).await?;
        }
    }
    for (_, id) in &new {
        engine.start(id).await?;
    }
    images::flush(ports).await
}

/// What is gone needs no policy.
fn not_there(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::NotFound { .. } => Ok(()),
        error => Err(error),
    }
}
