//! Waits for an Engine that went away during an update, and for the next try after an error.

use std::time::Duration;

use tokio::time::Instant;

use super::{StepError, UpdateContext};
use crate::core::update::plan::Plan;
use crate::engine::{Engine, EngineError};
use crate::ports::Ports;

/// How long to wait for an Engine that went away during an update. An Engine restart takes seconds,
/// on a Pi with many containers a minute.
pub const ENGINE_RETURN_TIMEOUT: Duration = Duration::from_secs(180);

/// How often to check whether it is back.
pub const ENGINE_RETURN_INTERVAL: Duration = Duration::from_millis(250);

/// Most tries of a rollback or a clean-up before it is left to the next round.
pub(super) const TRIES_MAX: u32 = 3;

/// The pause between two tries; the Engine may be busy with the container.
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// Checks that the Engine answers. One that is shutting down ends its containers while its event
/// streams are still open, but accepts no new connections: what was seen in such an end does not
/// count. `lost` says what is lost then.
pub(super) async fn check_engine_stayed(
    engine: &impl Engine,
    lost: &'static str,
) -> Result<(), StepError> {
    let gone = |error: EngineError| match error.is_engine_unreachable() {
        true => StepError::Spoilt(lost.into()),
        false => error.into(),
    };
    engine.info().await.map(|_| ()).map_err(gone)
}

/// Waits until the Engine answers, and reports that it waits. If the Engine stays away for longer,
/// the update stays open and is resumed later, so that it does not block other work.
pub(super) async fn await_engine<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
) -> Result<(), StepError> {
    let deadline = Instant::now() + ENGINE_RETURN_TIMEOUT;
    let mut is_said = false;
    loop {
        match context.ports.engine().info().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(StepError::EngineStaysAway(error));
            }
            Err(_) if context.stop.is_cancelled() => return Err(StepError::Asked),
            Err(error) => {
                if !std::mem::replace(&mut is_said, true) {
                    context.warn(plan, format!("the update waits for the Engine: {error}"));
                }
                tokio::time::sleep(ENGINE_RETURN_INTERVAL).await;
            }
        }
    }
}

/// Reports the error, and waits for the next try.
pub(super) async fn await_next_attempt<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
    what: &str,
    error: &EngineError,
) -> Result<(), StepError> {
    context.warn(plan, format!("{what} failed and is tried again: {error}"));
    if error.is_engine_unreachable() {
        return await_engine(context, plan).await;
    }
    tokio::time::sleep(TRY_PAUSE).await;
    Ok(())
}
