//! `pilotfish rollback NAME`: back to the image before.

use super::update::self_updating;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::{RollBack, RollbackEnd};
use crate::core::update::history::{Outcome, Record};
use crate::output;

/// Rolls a container back, and prints how that ended.
pub async fn roll_back(setting: &CommandContext, container: String) -> anyhow::Result<Exit> {
    let record = match via_agent::ask(setting, RollBack { container }).await? {
        RollbackEnd::Ended(record) => record,
        RollbackEnd::SelfUpdating { container } => {
            print(&self_updating(&container))?;
            return Ok(Exit::Done);
        }
    };
    print(&result(&record))?;
    Ok(if record.outcome == Outcome::Updated { Exit::Done } else { Exit::Failed })
}

fn result(record: &Record) -> String {
    let name = output::one_line(&record.subject.to_string());
    let to = record.to.as_ref().map_or("the image before", |digest| digest.short());
    let from = record.from.as_ref().map_or("the image it left", |digest| digest.short());
    if record.outcome != Outcome::Updated {
        return format!("{name} stays on {from}: {to} could not take its place.\n");
    }
    format!(
        "{name} runs on {to} again. {from} is refused from now on; `pilotfish allow {name}` forgets that.\n"
    )
}
