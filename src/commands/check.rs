//! `pilotfish check`: what is new, and what forbids an update. Writes nothing, pulls nothing.

use tokio_util::sync::CancellationToken;

use super::{CommandContext, Exit, names, print, quiet, waits_for};
use crate::agent::{Events, RoundEnd, RoundRequest};
use crate::app;
use crate::cli::CheckArguments;
use crate::control::client::Control;
use crate::core::update::event::NullSink;
use crate::output;

/// Checks once, and prints the result.
pub async fn check(setting: &CommandContext, arguments: CheckArguments) -> anyhow::Result<Exit> {
    let names = names(arguments.names);
    let may_be_known = !arguments.fresh;
    let request = RoundRequest { names, dry_run: true, may_be_known, ..RoundRequest::default() };
    let end = look(setting, request).await?;
    if arguments.json {
        print(&output::check_json(end.checked_at, &end.reports, &end.ignored_labels)?)?;
    } else {
        print(&output::check(&end.reports, setting.screen))?;
        print(&output::ignored_labels(&end.ignored_labels, setting.screen))?;
        print(&output::quotas(&end.quotas, setting.screen))?;
    }
    Ok(Exit::of_round(&end))
}

/// A round that changes nothing.
///
/// # Errors
/// It could not run at all.
pub async fn look(setting: &CommandContext, request: RoundRequest) -> anyhow::Result<RoundEnd> {
    let Some(control) = Control::connect(&setting.settings.state_dir).await? else {
        let mut agent = app::reader(
            &setting.settings,
            quiet(Events::new(Vec::new())),
            CancellationToken::new(),
        )?;
        return Ok(agent.round(&request).await?);
    };
    Ok(control.ask(&request, &NullSink, waits_for).await?)
}
