//! The output of `pilotfish status` and `pilotfish config`.

use chrono::{DateTime, Utc};

use crate::config::Explained;
use crate::control::Status;
use crate::core::decide::report::Verdict;
use crate::core::time::wall_clock::reading;
use crate::core::time::zone::Zone;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::counted;
use crate::output::table::{Cell, Column, TableRow, push_line, render};
use crate::output::text::one_line;

/// The state of the agent.
#[must_use]
pub fn status(status: &Status, zone: &Zone, screen: Screen) -> String {
    let snapshot = &status.snapshot;
    let at = |time: Option<DateTime<Utc>>, never: &str| {
        time.map_or_else(
            || never.to_owned(),
            |time| reading(time, zone).format("%Y-%m-%d %H:%M:%S").to_string(),
        )
    };
    let mut text = String::new();
    let state = match (&snapshot.error, snapshot.is_ready) {
        (Some(error), _) => screen.paint(Style::Red, &format!("in trouble: {}", one_line(error))),
        (None, true) => screen.paint(Style::Green, "running"),
        (None, false) => screen.paint(Style::Yellow, "starting"),
    };
    let count =
        |verdict| snapshot.reports.iter().filter(|report| report.verdict == verdict).count();
    let containers = format!(
        "{}: {} up to date, {} to update, {} held, {} not checked",
        counted(snapshot.reports.len(), "container", "containers"),
        count(Verdict::UpToDate),
        count(Verdict::Update),
        count(Verdict::Held),
        count(Verdict::Error),
    );
    let in_flight =
        snapshot.in_flight_words().map_or_else(|| "nothing".to_owned(), |words| one_line(&words));
    let mut lines = vec![
        ("agent", format!("{state}, version {}, process {}", status.version, status.pid)),
        ("watches", containers),
        ("last check", at(snapshot.last_check, "not yet")),
        ("next check", at(snapshot.next_check, "unknown")),
        ("updating", in_flight),
    ];
    if !snapshot.stuck.is_empty() {
        lines.push(("stuck", screen.paint(Style::Red, &one_line(&snapshot.stuck.join(", ")))));
    }
    if !snapshot.down.is_empty() {
        lines.push(("down", screen.paint(Style::Red, &one_line(&snapshot.down.join(", ")))));
    }
    for (title, value) in lines {
        push_line(&mut text, &format!("{title:<10}  {value}"));
    }
    text
}

/// Each key with its value and where that came from.
#[must_use]
pub fn config(explained: &[Explained], screen: Screen) -> String {
    let columns = [
        Column { title: "KEY", shortest: None },
        Column { title: "VALUE", shortest: Some(12) },
        Column { title: "FROM", shortest: Some(12) },
    ];
    let row = |explained: &Explained| TableRow {
        cells: vec![
            Cell::plain(one_line(&explained.key)),
            Cell::plain(one_line(&explained.value)),
            Cell::plain(one_line(&explained.origin.to_string())),
        ],
        below: Vec::new(),
    };
    render(&columns, &explained.iter().map(row).collect::<Vec<_>>(), screen)
}
