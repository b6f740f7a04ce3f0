//! `pilotfish history`: every recorded update.

use super::{CommandContext, Exit, print, say};
use crate::app;
use crate::cli::HistoryArguments;
use crate::output;

/// Prints the history, newest first. Needs neither Engine nor agent.
pub fn history(setting: &CommandContext, arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    let state = app::reading(&setting.settings.state_dir)?;
    let mut records = state.history()?;
    match state.damaged_records()? {
        0 => {}
        1 => say("one line of the history is damaged and left out"),
        count => say(&format!("{count} lines of the history are damaged and left out")),
    }
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
