//! The output of `pilotfish status` and `pilotfish config`.

use chrono::{DateTime, Utc};

use crate::config::Explained;
use crate::core::decide::report::Verdict;
use crate::core::subject;
use crate::core::time::wall_clock::reading;
use crate::core::time::zone::Zone;
use crate::documents::StatusDocument;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::counted_subjects;
use crate::output::table::{Cell, Column, TableRow, push_line, render};
use crate::output::text::one_line;

/// The state of the agent.
#[must_use]
pub fn status(status: &StatusDocument, zone: &Zone, screen: Screen) -> String {
    let at = |time: Option<DateTime<Utc>>, never: &str| {
        time.map_or_else(
            || never.to_owned(),
            |time| reading(time, zone).format("%Y-%m-%d %H:%M:%S").to_string(),
        )
    };
    let mut text = String::new();
    let state = match (&status.error, status.ready) {
        (Some(error), _) => screen.paint(Style::Red, &format!("in trouble: {}", one_line(error))),
        (None, true) => screen.paint(Style::Green, "running"),
        (None, false) => screen.paint(Style::Yellow, "starting"),
    };
    let rows = &status.containers;
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let containers = format!(
        "{}: {} up to date, {} to update, {} held, {} not checked",
        counted_subjects(rows.iter().map(|row| &row.subject)),
        count(Verdict::UpToDate),
        count(Verdict::Update),
        count(Verdict::Held),
        count(Verdict::Error),
    );
    let in_flight = match status.in_flight.as_slice() {
        [] => "nothing".to_owned(),
        all => one_line(&all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut lines = vec![
        ("agent", format!("{state}, version {}, process {}", status.version, status.pid)),
        ("watches", containers),
        ("last check", at(status.last_check, "not yet")),
        ("next check", at(status.next_check, "unknown")),
        ("updating", in_flight),
    ];
    if !status.stuck.is_empty() {
        lines.push((
            "stuck",
            screen.paint(Style::Red, &one_line(&subject::in_words(&status.stuck))),
        ));
    }
    if !status.down.is_empty() {
        lines.push(("down", screen.paint(Style::Red, &one_line(&subject::in_words(&status.down)))));
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
