//! The output of `pilotfish update --dry-run`.

use crate::core::time::duration::format_duration;
use crate::documents::{PlanRow, RoundDocument, ServicePlanRow};
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
    let plans = round.plans.iter().map(|plan| (&plan.subject, lines(plan)));
    let services = round.service_plans.iter().map(|plan| (&plan.subject, service_lines(plan)));
    for (subject, lines) in plans.chain(services) {
        text.push('\n');
        let name = screen.paint(Style::Bold, &one_line(&subject.to_string()));
        push_line(&mut text, &format!("{name} would be updated:"));
        for (title, value) in lines {
            push_line(&mut text, &plan_line(title, &value, screen));
        }
    }
    text
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

fn lines(plan: &PlanRow) -> Vec<(&'static str, String)> {
    let layers = counted(plan.layers, "layer", "layers");
    let from = short(plan.from.as_ref());
    let signal = plan.stop_signal.as_ref().map_or(String::new(), |word| format!("by {word}, "));
    let mut lines = vec![
        ("image", one_line(&plan.image)),
        ("change", format!("{from} → {}", plan.to.short())),
        ("pull", format!("at most {} in {layers}", bytes(plan.bytes))),
        ("stop", format!("{signal}within {}", format_duration(plan.stop_timeout))),
        ("keep", counted(plan.images_keep as usize, "previous image", "previous images")),
    ];
    if !plan.dependents.is_empty() {
        lines.push(("with", one_line(&plan.dependents.join(", "))));
    }
    lines
}
