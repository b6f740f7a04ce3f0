//! Floor 2: carries out the hook of a label, in a running container.

use tokio_util::sync::CancellationToken;

use crate::core::policy::hooks::{Hook, complaint};
use crate::engine::{Engine, EngineError};
use crate::ports::Ports;

/// How a hook ended, where that was not well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The agent was asked to stop. Nobody knows how the command went on.
    #[error("was cut off, because the agent was asked to stop")]
    Asked,
    /// What is wrong, in words.
    #[error("{0}")]
    Failed(String),
}

/// Runs a hook to its end, or for as long as it may take. A command that is cut off goes on in its
/// container: no Engine has a call that ends one.
///
/// # Errors
/// It did not end well, or nobody knows whether it did.
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
            Some(format!("took longer than {seconds} s and is not waited for"))
        }
        Err(error) => Some(format!("could not be run: {error}")),
    };
    failed.map_or(Ok(()), |failed| Err(HookError::Failed(failed)))
}
