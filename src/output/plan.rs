//! The output of `pilotfish update --dry-run`.

use crate::core::decide::report::Report;
use crate::core::time::duration::format_duration;
use crate::core::update::plan::Outline;
use crate::output::check::check;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{bytes, counted, short};
use crate::output::table::{INDENT, push_line};
use crate::output::text::{cut, one_line, shorten, width};

/// The table of a check, and the plan for every container that would be replaced.
///
/// The values of its environment are part of a plan and are not shown.
#[must_use]
pub fn dry_run(reports: &[Report], outlines: &[Outline], screen: Screen) -> String {
    let mut text = check(reports, screen);
    for plan in outlines {
        text.push('\n');
        let name = screen.paint(Style::Bold, &one_line(&plan.container));
        push_line(&mut text, &format!("{name} would be updated:"));
        for (title, value) in lines(plan) {
            let title = format!("{INDENT}{title:<7}  ");
            let room = screen.width.map(|columns| columns.saturating_sub(width(&title)));
            let value = match (title.trim(), room) {
                ("image", Some(room)) => shorten(&value, room),
                _ => cut(&value, room),
            };
            push_line(&mut text, &format!("{title}{value}"));
        }
    }
    text
}

fn lines(plan: &Outline) -> Vec<(&'static str, String)> {
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
