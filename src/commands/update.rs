//! `pilotfish update`: one round now.

use super::check::look;
use super::{CommandContext, Exit, print, via_agent};
use crate::agent::{AgentCommand, CommandReply, RoundEnd, RoundRequest};
use crate::cli::UpdateArguments;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::{Report, Verdict};
use crate::core::docker::names;
use crate::output;

/// Runs one round and says how it went.
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

/// An update that was begun and has no end yet is not done, whatever became of the others.
async fn act(setting: &CommandContext, request: RoundRequest) -> anyhow::Result<Exit> {
    let CommandReply::Round(end) =
        via_agent::carry_out(setting, AgentCommand::Round(request)).await?
    else {
        anyhow::bail!("the agent answered something else than what it was asked");
    };
    print(&output::update_summary(&end.records, &end.reports, setting.screen))?;
    if let Some(container) = &end.self_updating {
        print(&self_updating(container))?;
    }
    Ok(if is_open(&end) { Exit::Failed } else { Exit::of_round(&end) })
}

/// The agent updates everything but itself.
pub(super) fn self_updating(container: &str) -> String {
    let (name, helper) = (output::one_line(container), names::helper_name(container));
    let helper = output::one_line(&helper);
    format!(
        "{name} is the agent itself: {helper} updates it now, and `pilotfish history {name}` tells how that ended.\n"
    )
}

fn is_open(end: &RoundEnd) -> bool {
    let has_ended =
        |report: &Report| end.records.iter().any(|record| record.subject == report.subject);
    end.reports.iter().any(|report| match report.reason {
        Some(Reason::Stuck | Reason::UpdateInFlight) => true,
        _ => {
            report.verdict == Verdict::Update
                && !has_ended(report)
                && !end.self_updating.as_ref().is_some_and(|name| report.subject.is_container(name))
        }
    })
}
