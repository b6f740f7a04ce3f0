//! `pilotfish update`: one round now.

use super::check::look;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::RoundRequest;
use crate::cli::UpdateArguments;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Verdict;
use crate::core::docker::names;
use crate::documents::{ContainerRow, RoundDocument};
use crate::output;

/// Runs one round and prints the result.
pub async fn update(setting: &CommandContext, arguments: UpdateArguments) -> anyhow::Result<Exit> {
    let UpdateArguments { dry_run, force, json, .. } = arguments;
    let names = super::names(arguments.names);
    let tries_at_once = names.is_some();
    let request = RoundRequest { names, force, tries_at_once, dry_run, ..RoundRequest::default() };
    if dry_run { rehearse(setting, request, json).await } else { act(setting, request).await }
}

async fn rehearse(
    setting: &CommandContext,
    request: RoundRequest,
    json: bool,
) -> anyhow::Result<Exit> {
    let round = look(setting, request).await?;
    if json {
        print(&output::dry_run_json(&round)?)?;
    } else {
        print(&output::dry_run(&round, setting.screen))?;
    }
    Ok(Exit::of_round(&round))
}

/// An update without an end is not done, independent of the other results.
async fn act(setting: &CommandContext, request: RoundRequest) -> anyhow::Result<Exit> {
    let round = via_agent::ask(setting, request).await?;
    print(&output::update_summary(&round.updates, &round.check.containers, setting.screen))?;
    if let Some(container) = &round.self_updating {
        print(&self_updating(container))?;
    }
    Ok(if is_open(&round) { Exit::Failed } else { Exit::of_round(&round) })
}

/// The agent updates all containers except its own.
pub(super) fn self_updating(container: &str) -> String {
    let (name, helper) = (output::one_line(container), names::helper_name(container));
    let helper = output::one_line(&helper);
    format!(
        "{name} is the agent itself: {helper} updates it now, and `pilotfish history {name}` shows the result.\n"
    )
}

fn is_open(round: &RoundDocument) -> bool {
    let has_ended =
        |row: &ContainerRow| round.updates.iter().any(|update| update.concerns(&row.subject));
    let own = round.self_updating.as_deref();
    round.check.containers.iter().any(|row| match row.reason {
        Some(Reason::Stuck | Reason::UpdateInFlight) => true,
        _ => {
            row.verdict == Verdict::Update
                && !has_ended(row)
                && !own.is_some_and(|name| row.subject.is_container(name))
        }
    })
}
