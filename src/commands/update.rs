//! `pilotfish update`: one round now.

use std::sync::Arc;

use anyhow::Context as _;

use super::{Exit, Setting, deaf, names, print, quiet, stop_on_signal};
use crate::agent::Request;
use crate::app;
use crate::cli::UpdateArguments;
use crate::output::{self, TerminalListener};

/// Runs one round and says how it went.
pub async fn update(setting: &Setting, arguments: UpdateArguments) -> anyhow::Result<Exit> {
    let request = Request {
        names: names(arguments.names.clone()),
        force: arguments.force,
        dry_run: arguments.dry_run,
        ..Request::default()
    };
    if arguments.dry_run {
        rehearse(setting, &arguments, &request).await
    } else {
        act(setting, &request).await
    }
}

async fn rehearse(
    setting: &Setting,
    arguments: &UpdateArguments,
    request: &Request,
) -> anyhow::Result<Exit> {
    let mut agent = app::reader(&setting.settings, deaf(), stop_on_signal()?)?;
    let end = agent.round(request).await?;
    if arguments.json {
        print(&output::check_json(end.checked_at, &end.reports)?)?;
    } else {
        let plans: Vec<_> = end.plans.iter().collect();
        print(&output::dry_run(&end.reports, &plans, setting.screen))?;
    }
    Ok(Exit::of_round(&end))
}

async fn act(setting: &Setting, request: &Request) -> anyhow::Result<Exit> {
    let shown = TerminalListener::new(std::io::stdout(), setting.screen, setting.is_terminal);
    let terminal = Arc::new(shown.context("cannot show progress")?);
    let mut agent = app::agent(&setting.settings, quiet(terminal.clone()), stop_on_signal()?)?;
    let end = agent.round(request).await;
    terminal.finish();
    let end = end?;
    print(&output::update_summary(&end.records, &end.reports, setting.screen))?;
    Ok(Exit::of_round(&end))
}
