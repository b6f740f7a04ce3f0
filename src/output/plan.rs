//! The output of `pilotfish update --dry-run`.

use crate::core::policy::group::Meanwhile;
use crate::core::time::duration::format_duration;
use crate::documents::{GroupPlanRow, JobRow, PlanRow, RoundDocument, ServicePlanRow};
use crate::output::check::check;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{bytes, counted, short};
use crate::output::table::{INDENT, push_line};
use crate::output::text::{cut, one_line, shorten, width};

/// The table of a check, and the plan for everything that would be replaced.
///
/// The values of an environment are part of a plan and are not shown.
#[must_use]
pub fn dry_run(round: &RoundDocument, screen: Screen) -> String {
    let mut text = check(&round.check.containers, screen);
    let (of_groups, alone): (Vec<_>, Vec<_>) =
        round.plans.iter().partition(|plan| plan.group.is_some());
    for group in &round.group_plans {
        let name = format!("group {}", group.group);
        push_plan(&mut text, (&name, "would be updated:"), group_lines(group), screen);
        let of_this = of_groups.iter().filter(|plan| plan.group.as_ref() == Some(&group.group));
        for plan in of_this {
            let name = format!("{} of group {}", plan.container, group.group);
            push_plan(&mut text, (&name, "would get:"), member_lines(plan, group), screen);
        }
    }
    for plan in alone {
        push_plan(&mut text, (&plan.container, "would be updated:"), lines(plan), screen);
    }
    for plan in &round.service_plans {
        let name = plan.subject.to_string();
        push_plan(&mut text, (&name, "would be updated:"), service_lines(plan), screen);
    }
    text
}

fn push_plan(
    text: &mut String,
    (name, what): (&str, &str),
    lines: Vec<(&'static str, String)>,
    screen: Screen,
) {
    text.push('\n');
    let name = screen.paint(Style::Bold, &one_line(name));
    push_line(text, &format!("{name} {what}"));
    for (title, value) in lines {
        push_line(text, &plan_line(title, &value, screen));
    }
}

fn plan_line(title: &str, value: &str, screen: Screen) -> String {
    let start = format!("{INDENT}{title:<7}  ");
    let room = screen.width.map(|columns| columns.saturating_sub(width(&start)));
    let value = match (title, room) {
        ("image", Some(room)) => shorten(value, room),
        _ => cut(value, room),
    };
    format!("{start}{value}")
}

fn service_lines(plan: &ServicePlanRow) -> Vec<(&'static str, String)> {
    let nodes = counted(plan.nodes.len(), "node", "nodes");
    let names = one_line(&plan.nodes.join(", "));
    let at_once = match plan.parallelism {
        0 => "all tasks at once".to_owned(),
        1 => "one task at a time".to_owned(),
        several => format!("{several} tasks at a time"),
    };
    let (order, delay) = (one_line(&plan.order), format_duration(plan.delay));
    let from = plan.from.short();
    let way_back = match plan.swarm_goes_back {
        true => format!("Swarm's own rollback, to {from}"),
        false => format!("Pilotfish's own, to {from}, because the image names no digest"),
    };
    vec![
        ("image", one_line(&plan.image)),
        ("change", format!("{from} → {}", plan.to.short())),
        ("pull", format!("on {nodes} before any task is stopped: {names}")),
        ("tasks", format!("{order}, {at_once}, {delay} apart")),
        ("watch", format!("each task for {}", format_duration(plan.stable))),
        ("back", way_back),
    ]
}

fn group_lines(plan: &GroupPlanRow) -> Vec<(&'static str, String)> {
    let in_order = |names: &mut dyn Iterator<Item = &String>| {
        one_line(&names.map(String::as_str).collect::<Vec<_>>().join(", then "))
    };
    let mut lines = Vec::new();
    if !plan.hooks.is_empty() {
        lines.push(("hook", format!("of {}", in_order(&mut plan.hooks.iter()))));
    }
    let mut runs: Vec<_> = plan.jobs.iter().map(|job| ("run", job_in_words(job))).collect();
    let stops = ("stop", in_order(&mut plan.starts.iter().rev()));
    let is_stopped = plan.jobs.iter().any(|job| job.meanwhile == Meanwhile::Stopped);
    runs.insert(if is_stopped { 0 } else { runs.len() }, stops);
    lines.extend(runs);
    lines.push(("start", in_order(&mut plan.starts.iter())));
    lines
}

fn job_in_words(job: &JobRow) -> String {
    let meanwhile = match job.meanwhile {
        Meanwhile::Serving => "while the old containers serve",
        Meanwhile::Stopped => "while the group is stopped",
    };
    let (name, timeout) = (one_line(&job.container), format_duration(job.timeout));
    format!("{name} within {timeout}, {meanwhile}")
}

/// A job does not stop: it has ended.
fn member_lines(plan: &PlanRow, group: &GroupPlanRow) -> Vec<(&'static str, String)> {
    let is_job = group.jobs.iter().any(|job| job.container == plan.container);
    let mut lines = lines(plan);
    lines.retain(|(title, _)| *title != "with" && !(is_job && *title == "stop"));
    lines
}

fn lines(plan: &PlanRow) -> Vec<(&'static str, String)> {
    let layers = counted(plan.layers, "layer", "layers");
    let from = short(plan.from.as_ref());
    let signal = plan.stop_signal.as_ref().map_or(String::new(), |word| format!("by {word}, "));
    let mut lines = vec![
        ("image", one_line(&plan.image)),
        ("change", format!("{from} → {}", plan.to.short())),
        ("pull", format!("at most {} in {layers}", bytes(plan.bytes))),
    ];
    if !plan.hooks.is_empty() {
        lines.push(("hook", format!("of {}", one_line(&plan.hooks.join(", then ")))));
    }
    if plan.starts_first() {
        let drain = format_duration(plan.drain);
        lines.push(("start", format!("before the old one stops; both serve for {drain}")));
    }
    lines.extend([
        ("stop", format!("{signal}within {}", format_duration(plan.stop_timeout))),
        ("keep", counted(plan.images_keep as usize, "previous image", "previous images")),
    ]);
    if !plan.dependents.is_empty() {
        lines.push(("with", one_line(&plan.dependents.join(", "))));
    }
    lines
}
