//! `pilotfish history`: every update ever tried.

use super::{Exit, Setting, print};
use crate::app;
use crate::cli::HistoryArguments;
use crate::output;

/// Prints the history, newest first. Needs neither Engine nor agent.
pub fn history(setting: &Setting, arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    let mut records = app::reading(&setting.settings.state_dir)?.history()?;
    if let Some(name) = &arguments.name {
        records.retain(|record| record.container == *name);
    }
    if arguments.json {
        print(&output::history_json(&records)?)?;
    } else {
        print(&output::history(
            &records,
            arguments.name.as_deref(),
            &setting.settings.time_zone,
            setting.screen,
        ))?;
    }
    Ok(Exit::Done)
}
