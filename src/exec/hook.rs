//! Layer 2: runs the hook of a label in a running container.

use tokio_util::sync::CancellationToken;

use crate::core::policy::hooks::{Hook, complaint};
use crate::engine::{Containers, EngineError};
use crate::ports::Ports;

/// Why a hook did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The agent was asked to stop. The result of the command is unknown.
    #[error("was interrupted, because the agent was asked to stop")]
    Asked,
    /// It failed, or took too long.
    #[error("{0}")]
    Failed(String),
    /// The Engine did not run it, or did not say how it ended.
    #[error("could not be run: {0}")]
    NotRun(EngineError),
}

/// Runs a hook to its end, or until its timeout. A command that takes too long continues in its
/// container, because no Engine has a call that ends it.
///
/// # Errors
/// It failed, or its result is unknown.
pub async fn run(
    ports: &impl Ports,
    stop: &CancellationToken,
    container: &str,
    hook: &Hook,
) -> Result<(), HookError> {
    let words = hook.words();
    let run = Box::pin(ports.engine().exec(container, &words, hook.timeout));
    let ended = stop.run_until_cancelled(run).await.ok_or(HookError::Asked)?;
    let failed = match ended {
        Ok(code) => complaint(code),
        // A shorter time is that of one call to the Engine.
        Err(EngineError::TimedOut { seconds, .. }) if seconds >= hook.timeout.as_secs() => {
            Some(format!("took longer than {seconds} s and is no longer waited for"))
        }
        Err(error) => return Err(HookError::NotRun(error)),
    };
    failed.map_or(Ok(()), |failed| Err(HookError::Failed(failed)))
}
