//! `pilotfish healthcheck`: whether the agent on this machine is healthy.

use super::status::running;
use super::{CommandContext, Exit};

/// Fails if the agent is not healthy, or does not run.
pub async fn healthcheck(setting: &CommandContext) -> anyhow::Result<Exit> {
    running(setting).await?.health().await?;
    Ok(Exit::Done)
}
