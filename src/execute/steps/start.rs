//! Step 5, start: starts the new containers, with an event stream open on each.

use super::{Begun, removed};
use crate::core::update::{fault, start_error};
use crate::engine::{Engine, EngineError};
use crate::execute::StepError;
use crate::execute::external_changes::{
    check_old_containers_run, check_old_containers_stayed_down,
};
use crate::execute::inspector::Inspector;
use crate::execute::verification::{HealthWatch, check_streams_are_open};

/// Starts the new containers, each after those it depends on. `watches` listen to them from before
/// their start.
pub(in crate::execute) async fn start<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    watches: &mut Vec<HealthWatch>,
    begun: Begun,
) -> Result<(), StepError> {
    let new = listen(engine, inspector, watches).await?;
    // An Engine that restarted since the switch has started the old containers, and both must never
    // run. A restart after this check ends the event streams, which is noticed without another
    // question.
    check_old_containers_stayed_down(inspector).await?;
    check_streams_are_open(watches)?;
    start_all(engine, inspector, (watches, new), begun).await
}

/// Starts the new containers while the old ones serve.
pub(in crate::execute) async fn launch<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    watches: &mut Vec<HealthWatch>,
) -> Result<(), StepError> {
    check_old_containers_run(inspector).await?;
    let new = listen(engine, inspector, watches).await?;
    start_all(engine, inspector, (watches, new), Begun::Here).await
}

/// Opens an event stream on each new container, and returns them all.
async fn listen<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    watches: &mut Vec<HealthWatch>,
) -> Result<Vec<(usize, String)>, StepError> {
    let new = inspector.new_ids()?;
    watches.clear();
    for (_, id) in &new {
        watches.push(HealthWatch::begin(engine, id).await?);
    }
    Ok(new)
}

async fn start_all<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    (watches, new): (&mut [HealthWatch], Vec<(usize, String)>),
    begun: Begun,
) -> Result<(), StepError> {
    for (place, (number, id)) in new.into_iter().enumerate() {
        let started = engine.start(&id).await;
        if let Some(watch) = watches.get_mut(place) {
            watch.mark_started();
        }
        match started {
            Ok(()) => {}
            // A container that it depends on has ended: the verification finds that first.
            Err(error) if is_orphaned(inspector, number, &error).await? => break,
            // A missing network gives the same answer.
            Err(error)
                if error.is_not_found() && inspector.new_container(number).await?.is_none() =>
            {
                return Err(removed(inspector.plan(), begun, "new", error, number));
            }
            Err(error) => return Err(start_failed(inspector, number, error).await),
        }
    }
    Ok(())
}

/// Whether a dependent could not be started because a container before it no longer runs.
async fn is_orphaned(
    inspector: Inspector<'_, impl Engine>,
    number: usize,
    error: &EngineError,
) -> Result<bool, StepError> {
    if error.is_engine_unreachable() {
        return Ok(false);
    }
    for before in inspector.members().into_iter().filter(|before| *before < number) {
        if !inspector.new_runs(before).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why the new container of a member could not start, by the Engine's message. A message that is
/// not about the new container proves nothing.
pub(in crate::execute) async fn start_failed(
    inspector: Inspector<'_, impl Engine>,
    number: usize,
    error: EngineError,
) -> StepError {
    if error.is_engine_unreachable() {
        return error.into();
    }
    let blame = match inspector.new_container(number).await {
        Ok(Some(new)) => start_error::of_container(error.words(), &new),
        Ok(None) | Err(_) => start_error::of(error.words()),
    };
    let fetched = inspector.progress().known.has_fetched(number);
    let words = error.to_string();
    StepError::Cause(fault::of_start(inspector.plan(), number, fetched, blame, &words))
}
