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
    #[error("{0}")]
    Failed(String),
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
        Err(EngineError::TimedOut { seconds, .. }) => {
            Some(format!("took longer than {seconds} s and is no longer waited for"))
        }
        Err(error) => Some(format!("could not be run: {error}")),
    };
    failed.map_or(Ok(()), |failed| Err(HookError::Failed(failed)))
}
