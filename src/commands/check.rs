//! `pilotfish check`: what is new, and what is in its way. Writes nothing, pulls nothing.

use tokio_util::sync::CancellationToken;

use super::{Exit, Setting, deaf, names, print};
use crate::agent::Request;
use crate::app;
use crate::cli::CheckArguments;
use crate::output;

/// Looks once, and prints what was found.
pub async fn check(setting: &Setting, arguments: CheckArguments) -> anyhow::Result<Exit> {
    let mut agent = app::reader(&setting.settings, deaf(), CancellationToken::new())?;
    let names = names(arguments.names);
    let request = Request { names, dry_run: true, ..Request::default() };
    let end = agent.round(&request).await?;
    if arguments.json {
        print(&output::check_json(end.checked_at, &end.reports)?)?;
    } else {
        print(&output::check(&end.reports, setting.screen))?;
    }
    Ok(Exit::of_round(&end))
}
