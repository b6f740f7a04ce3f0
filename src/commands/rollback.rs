//! `pilotfish rollback NAME`: back to the image before.

use super::update::self_updating;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::RollBack;
use crate::core::update::history::Outcome;
use crate::documents::{RollbackDocument, UpdateRow};
use crate::output;

/// Rolls a container back, and prints how that ended.
pub async fn roll_back(setting: &CommandContext, container: String) -> anyhow::Result<Exit> {
    let update = match via_agent::ask(setting, RollBack { container }).await? {
        RollbackDocument::Ended(update) => update,
        RollbackDocument::SelfUpdating { container } => {
            print(&self_updating(&container))?;
            return Ok(Exit::Done);
        }
    };
    print(&result(&update))?;
    Ok(if update.outcome == Outcome::Updated { Exit::Done } else { Exit::Failed })
}

fn result(update: &UpdateRow) -> String {
    let name = output::one_line(&update.subject.to_string());
    let to = update.to.as_ref().map_or("the image before", |digest| digest.short());
    let from = update.from.as_ref().map_or("the image it left", |digest| digest.short());
    if update.outcome != Outcome::Updated {
        return format!("{name} stays on {from}: {to} could not take its place.\n");
    }
    let typed = output::one_line(&update.subject.to_text());
    format!(
        "{name} runs on {to} again. {from} is refused from now on; `pilotfish allow {typed}` forgets that.\n"
    )
}
