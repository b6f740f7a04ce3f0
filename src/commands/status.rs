//! `pilotfish status`: the agent as it stands.

use anyhow::Context as _;

use super::{CommandContext, Exit, print};
use crate::control::client::Control;
use crate::output;

/// Prints how the agent stands.
pub async fn status(setting: &CommandContext, json: bool) -> anyhow::Result<Exit> {
    let status = running(setting).await?.status().await?;
    if json {
        print(&output::status_json(&status)?)?;
    } else {
        print(&output::status(&status, &setting.settings.time_zone, setting.screen))?;
    }
    Ok(Exit::Done)
}

/// The agent, which must run.
pub(super) async fn running(setting: &CommandContext) -> anyhow::Result<Control> {
    let state_dir = &setting.settings.state_dir;
    Control::connect(state_dir).await?.with_context(|| {
        format!(
            "no agent runs with the state directory {}; `pilotfish run` or your service manager starts one",
            state_dir.display()
        )
    })
}
