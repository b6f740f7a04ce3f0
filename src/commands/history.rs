//! `pilotfish history`: every recorded update.

use super::{CommandContext, Exit, print, say};
use crate::app;
use crate::cli::HistoryArguments;
use crate::documents::HistoryDocument;
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
        records.retain(|record| record.is_about(name));
    }
    let history = HistoryDocument::from(records.as_slice());
    if arguments.json {
        print(&output::history_json(&history)?)?;
    } else {
        print(&output::history(
            &history.updates,
            arguments.name.as_deref(),
            &setting.settings.time_zone,
            setting.screen,
        ))?;
    }
    Ok(Exit::Done)
}
