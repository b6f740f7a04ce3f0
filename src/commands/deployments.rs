//! `pilotfish deployments export NAME`: the definition of a running container.

use anyhow::Context as _;

use super::{CommandContext, Exit, print};
use crate::app;
use crate::cli::{DeploymentsAction, DeploymentsArguments, ExportArguments};

/// Prints the definition.
pub async fn deployments(
    setting: &CommandContext,
    arguments: DeploymentsArguments,
) -> anyhow::Result<Exit> {
    let DeploymentsAction::Export(ExportArguments { name }) = arguments.action;
    let body = app::definition_of(&setting.settings, &name).await?;
    let mut text = serde_json::to_string_pretty(&body).context("cannot write the definition")?;
    text.push('\n');
    print(&text)?;
    Ok(Exit::Done)
}
