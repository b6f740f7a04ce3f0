//! Step 7, commit: from now on the new containers are the service.

use super::{Begun, removed};
use crate::core::recreate::RestartPolicy;
use crate::engine::{Containers, EngineError};
use crate::execute::inspector::Inspector;
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, images};
use crate::ports::Ports;

/// Sets the restart policy of the old containers to `no`, then gives the new ones their own
/// policies. After a power cut between the calls the Engine starts neither, or only dependents; the
/// recovery then starts the verified containers.
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
    // An Engine that has just restarted has started the old containers, not the verified ones.
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

/// A container that is gone needs no policy.
fn not_there(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::NotFound { .. } => Ok(()),
        error => Err(error),
    }
}
