//! The commands with which a person steps in: `rollback`, `allow`, `recover`.

use super::update::self_updating;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::{AgentCommand, CommandReply};
use crate::core::update::history::{Outcome, Record};
use crate::output;

/// `pilotfish rollback NAME`: back to the image before.
pub async fn roll_back(setting: &CommandContext, name: String) -> anyhow::Result<Exit> {
    let record = match via_agent::carry_out(setting, AgentCommand::RollBack(name)).await? {
        CommandReply::RolledBack(record) => record,
        CommandReply::SelfUpdating(container) => {
            print(&self_updating(&container))?;
            return Ok(Exit::Done);
        }
        _ => anyhow::bail!("the agent answered something else than what it was asked"),
    };
    print(&told(&record))?;
    Ok(if record.outcome == Outcome::Updated { Exit::Done } else { Exit::Failed })
}

fn told(record: &Record) -> String {
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

/// `pilotfish allow NAME`: forget the refused digests of a container.
pub async fn allow(setting: &CommandContext, name: String) -> anyhow::Result<Exit> {
    let command = AgentCommand::Allow(name.clone());
    let CommandReply::Allowed(count) = via_agent::carry_out(setting, command).await? else {
        anyhow::bail!("the agent answered something else than what it was asked");
    };
    print(&match count {
        0 => format!("{name} had no refused digests.\n"),
        1 => format!("{name}: one refused digest is forgotten; the next round may try it again.\n"),
        _ => format!(
            "{name}: {count} refused digests are forgotten; the next round may try them again.\n"
        ),
    })?;
    Ok(Exit::Done)
}

/// `pilotfish recover`: finish or undo what was left open. How each update ended is told when it
/// does.
pub async fn recover(setting: &CommandContext) -> anyhow::Result<Exit> {
    let CommandReply::Recovered { records, open } =
        via_agent::carry_out(setting, AgentCommand::Recover).await?
    else {
        anyhow::bail!("the agent answered something else than what it was asked");
    };
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
