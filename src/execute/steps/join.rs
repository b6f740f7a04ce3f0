//! The new containers get the names of the service, and both serve for the drain time.

use super::check_nothing_changed;
use crate::core::recreate::{NetworkEndpoint, joins};
use crate::engine::{Engine, EngineError};
use crate::execute::inspector::Inspector;
use crate::execute::verification::{HealthWatch, PostUpdateHooks, Verification, VerificationStage};
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// Connects the new containers with the aliases of the old ones, and watches them until they are
/// healthy again, and for the drain time.
///
/// A container that is connected again has another address, so connections that it has opened
/// itself are cut. Its health check tells whether it works again.
pub(in crate::execute) async fn join<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    hooks: &mut PostUpdateHooks,
) -> Result<(), StepError> {
    check_nothing_changed(context, inspector).await?;
    let engine = context.ports.engine();
    let mut watches = Vec::new();
    for (number, id) in inspector.new_ids()? {
        watches.push(HealthWatch::begin(engine, &id).await?);
        match connect_again(engine, inspector, number, &id).await {
            Ok(()) => {}
            Err(error) if error.is_engine_unreachable() => return Err(error.into()),
            // A container that has ended has no network; the verification finds out why.
            Err(_) if !inspector.new_runs(number).await? => {}
            Err(error) => return Err(error.into()),
        }
    }
    let drain = inspector.plan().strategy.drain();
    let mut verification =
        Verification { context, inspector, hooks, stage: VerificationStage::Joined { drain } };
    verification.run(watches).await
}

async fn connect_again<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
    id: &str,
) -> Result<(), EngineError> {
    for NetworkEndpoint { network, config } in joins(&inspector.plan().member(number).recreation) {
        engine.disconnect(&network, id).await?;
        engine.connect(&network, id, &config).await?;
    }
    Ok(())
}
