//! `pilotfish recover`: finish or undo every update that was left open.

use super::{CommandContext, Exit, print, via_agent};
use crate::agent::{Recover, RecoverEnd};
use crate::output;

/// Finishes or undoes what was left open. Each update prints its end when it ends; what is printed
/// here is the rest.
pub async fn recover(setting: &CommandContext) -> anyhow::Result<Exit> {
    let RecoverEnd { records, open } = via_agent::ask(setting, Recover).await?;
    let mut text = String::new();
    for container in &open {
        let container = output::one_line(container);
        text.push_str(&format!(
            "{container}: could still not be finished or undone; the log tells why\n"
        ));
    }
    if records.is_empty() && open.is_empty() {
        text.push_str("Nothing was left open.\n");
    }
    print(&text)?;
    Ok(if open.is_empty() { Exit::Done } else { Exit::Failed })
}
