//! Stops the old containers: with their own signal, or with the signal of a label.

use std::time::Duration;

use futures_util::StreamExt;

use crate::core::update::plan::Member;
use crate::engine::{ContainerEvent, Engine, EngineError};

/// Stops the old container of a member. A container that does not run is no error.
///
/// The Engine can stop a container with another signal only since API 1.42. Even there the policy
/// `always` starts a container again that ends by such a signal if its image names a stop signal
/// (moby `killWithSignal`). So on every Engine the signal is sent, the end is awaited, and then the
/// container is stopped: a container that has ended stays down, one that was started again is
/// stopped, and one that ignored the signal is killed.
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

/// Sends the signal, and returns how long the container may still take: zero if its whole time is
/// used up.
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
    // The stream ends if the Engine ends; the stop then finds the Engine away.
    let end = events.any(async |event| ends_process(&event));
    let has_ended = tokio::time::timeout(grace, end).await.is_ok();
    Ok(if has_ended { grace } else { Duration::ZERO })
}

/// A container that waits for its restart receives no signal, and starts again without knowledge of
/// it.
fn ends_process(event: &ContainerEvent) -> bool {
    match event {
        ContainerEvent::Died { .. } => true,
        ContainerEvent::Other(action) => action == "start",
        _ => false,
    }
}
