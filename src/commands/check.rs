//! `pilotfish check`: what is new, and what forbids an update. Writes nothing, pulls nothing.

use tokio_util::sync::CancellationToken;

use super::{CommandContext, Exit, names, print, quiet, waits_for};
use crate::agent::{Events, RoundRequest};
use crate::app;
use crate::cli::CheckArguments;
use crate::control::client::Control;
use crate::documents::RoundDocument;
use crate::output;

/// Checks once, and prints the result.
pub async fn check(setting: &CommandContext, arguments: CheckArguments) -> anyhow::Result<Exit> {
    let names = names(arguments.names);
    let may_be_known = !arguments.fresh;
    let request = RoundRequest { names, dry_run: true, may_be_known, ..RoundRequest::default() };
    let round = look(setting, request).await?;
    if arguments.json {
        print(&output::check_json(&round.check)?)?;
    } else {
        print(&output::check(&round.check.containers, setting.screen))?;
        print(&output::ignored_labels(&round.check.ignored_labels, setting.screen))?;
        print(&output::quotas(&round.quotas, setting.screen))?;
    }
    Ok(Exit::of_round(&round))
}

/// A round that changes nothing.
///
/// # Errors
/// It could not run at all.
pub async fn look(
    setting: &CommandContext,
    request: RoundRequest,
) -> anyhow::Result<RoundDocument> {
    let Some(control) = Control::connect(&setting.settings.state_dir).await? else {
        let mut agent = app::reader(
            &setting.settings,
            app::deployments(&setting.settings).await?,
            quiet(Events::new(Vec::new())),
            CancellationToken::new(),
        )?;
        return Ok(RoundDocument::from(&agent.round(&request).await?));
    };
    Ok(control.ask(&request, |_| {}, waits_for).await?)
}
