//! `pilotfish update`: one round now.

use super::check::look;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::{RoundEnd, RoundRequest};
use crate::cli::UpdateArguments;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Verdict;
use crate::core::docker::names;
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
    let end = look(setting, request).await?;
    if json {
        print(&output::check_json(end.checked_at, &end.reports, &end.ignored_labels)?)?;
    } else {
        print(&output::dry_run(&end.reports, &end.outlines, setting.screen))?;
    }
    Ok(Exit::of_round(&end))
}

/// An update without an end is not done, independent of the other results.
async fn act(setting: &CommandContext, request: RoundRequest) -> anyhow::Result<Exit> {
    let end = via_agent::ask(setting, request).await?;
    print(&output::update_summary(&end.records, &end.reports, setting.screen))?;
    if let Some(container) = &end.self_updating {
        print(&self_updating(container))?;
    }
    Ok(if is_open(&end) { Exit::Failed } else { Exit::of_round(&end) })
}

/// The agent updates all containers except its own.
pub(super) fn self_updating(container: &str) -> String {
    let (name, helper) = (output::one_line(container), names::helper_name(container));
    let helper = output::one_line(&helper);
    format!(
        "{name} is the agent itself: {helper} updates it now, and `pilotfish history {name}` shows the result.\n"
    )
}

fn is_open(end: &RoundEnd) -> bool {
    let has_ended = |name: &str| end.records.iter().any(|record| record.container == name);
    end.reports.iter().any(|report| match report.reason {
        Some(Reason::Stuck | Reason::UpdateInFlight) => true,
        _ => {
            report.verdict == Verdict::Update
                && !has_ended(&report.container)
                && end.self_updating.as_ref() != Some(&report.container)
        }
    })
}
