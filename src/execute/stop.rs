//! How the old containers are stopped: with their own signal, or with that of a label.

use std::time::Duration;

use futures_util::StreamExt;

use crate::core::update::plan::Member;
use crate::engine::{ContainerEvent, Engine, EngineError};

/// Stops the old container of a member. One that does not run is no error.
///
/// A stop with another signal than the container's own has been known since API 1.42 only, and even
/// there a container that ends by such a signal is started again by its policy `always` where its
/// image names a stop signal (moby `killWithSignal`). So on every Engine the signal is sent, the
/// end is awaited, and then the stop is asked for all the same: what ended stays down, what was
/// started again is stopped, and what did not heed the signal is killed.
pub(super) async fn stop_old_container(
    engine: &impl Engine,
    member: &Member,
) -> Result<(), EngineError> {
    let grace = match &member.stop_signal {
        Some(signal) => send(engine, &member.old_container, signal, member.stop_timeout).await?,
        None => member.stop_timeout,
    };
    engine.stop(&member.old_container, grace).await
}

/// Sends the signal, and gives how long the container may take from then on: no time, if it has had
/// all of it.
async fn send(
    engine: &impl Engine,
    container: &str,
    signal: &str,
    grace: Duration,
) -> Result<Duration, EngineError> {
    let events = engine.events(container).await?;
    match engine.kill(container, signal).await {
        // It does not run.
        Err(EngineError::Conflict { .. }) => return Ok(grace),
        done => done?,
    }
    // The stream ends with the Engine, which the stop then finds away.
    let end = events.any(async |event| ends_process(&event));
    let has_ended = tokio::time::timeout(grace, end).await.is_ok();
    Ok(if has_ended { grace } else { Duration::ZERO })
}

/// A signal to a container that waits to be started again goes nowhere, and does not keep it from
/// being started: the life that begins then knows nothing of it.
fn ends_process(event: &ContainerEvent) -> bool {
    match event {
        ContainerEvent::Died { .. } => true,
        ContainerEvent::Other(action) => action == "start",
        _ => false,
    }
}
