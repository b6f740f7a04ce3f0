//! `pilotfish recover`: finish or undo every update that was left open.

use super::{CommandContext, Exit, print, via_agent};
use crate::agent::Recover;
use crate::documents::RecoveryDocument;
use crate::output;

/// Finishes or undoes what was left open. Each update prints its end when it ends; what is printed
/// here is the rest.
pub async fn recover(setting: &CommandContext) -> anyhow::Result<Exit> {
    let RecoveryDocument { updates, open } = via_agent::ask(setting, Recover).await?;
    let mut text = String::new();
    for subject in &open {
        let subject = output::one_line(&subject.to_string());
        text.push_str(&format!(
            "{subject}: could still not be finished or undone; the log says why\n"
        ));
    }
    if updates.is_empty() && open.is_empty() {
        text.push_str("Nothing was left open.\n");
    }
    print(&text)?;
    Ok(if open.is_empty() { Exit::Done } else { Exit::Failed })
}
