//! The pages of `pilotfish history`.

use chrono::{DateTime, Utc};

use crate::core::time::wall_clock::reading;
use crate::core::time::zone::Zone;
use crate::core::update::history::{DataState, Outcome};
use crate::documents::UpdateRow;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{UNKNOWN, seconds, short, spaced};
use crate::output::table::{Cell, Column, INDENT, TableRow, render};
use crate::output::text::{cut, one_line, wrap};

/// The text before a log line of the failed container.
const LOG_INDENT: &str = "    | ";

const COLUMNS: [Column; 6] = [
    Column { title: "WHEN", shortest: None },
    Column { title: "CONTAINER", shortest: Some(9) },
    Column { title: "FROM", shortest: None },
    Column { title: "TO", shortest: None },
    Column { title: "OUTCOME", shortest: None },
    Column { title: "GAP", shortest: None },
];

/// One row for each update in the given order, which is newest first; below it the reason of a
/// failure, and the last log lines of the failed container. Times are in `zone`. `name` is the
/// container that was asked for, if any.
#[must_use]
pub fn history(updates: &[UpdateRow], name: Option<&str>, zone: &Zone, screen: Screen) -> String {
    if updates.is_empty() {
        let whose = name.map_or_else(String::new, |name| format!(" of {}", one_line(name)));
        return format!("No update{whose} has been tried yet.\n");
    }
    let rows: Vec<_> = updates.iter().map(|update| row(update, zone, screen)).collect();
    render(&COLUMNS, &rows, screen)
}

fn row(update: &UpdateRow, zone: &Zone, screen: Screen) -> TableRow {
    let gap = update.gap_seconds.map_or_else(|| UNKNOWN.to_owned(), seconds);
    let outcome = spaced(update.outcome.word());
    let cells = vec![
        Cell::plain(when(update.started_at, zone)),
        Cell::plain(one_line(&update.subject.to_string())),
        Cell::plain(short(update.from.as_ref())),
        Cell::plain(short(update.to.as_ref())),
        Cell { text: outcome, paint: paint(update.outcome) },
        Cell::plain(gap),
    ];
    TableRow { cells, below: below(update, screen) }
}

fn when(time: DateTime<Utc>, zone: &Zone) -> String {
    reading(time, zone).format("%Y-%m-%d %H:%M").to_string()
}

const fn paint(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Updated => Style::Green,
        Outcome::RolledBack | Outcome::Failed | Outcome::Interrupted => Style::Yellow,
        Outcome::Stuck => Style::Red,
    }
}

fn below(update: &UpdateRow, screen: Screen) -> Vec<String> {
    let reason = update.reason.iter().map(|reason| with_tries(reason, update.tries));
    let reason = reason.chain(update.group.data.map(data_in_words));
    let mut lines: Vec<String> =
        reason.flat_map(|reason| wrap(&one_line(&reason), INDENT, screen.width)).collect();
    lines.extend(log(update, screen));
    lines
}

/// What jobs did to the data of a group that was rolled back.
fn data_in_words(data: DataState) -> String {
    let what = match data {
        DataState::Maybe => "a job may have changed a part of the data",
        DataState::Migrated => "the old code runs on migrated data; a rollback moves no data",
    };
    format!("data: {}: {what}", data.word())
}

fn with_tries(reason: &str, tries: u32) -> String {
    if tries > 1 { format!("{reason} ({tries} tries)") } else { reason.to_owned() }
}

/// The last log lines of the failed container. They are cut, not wrapped, because a log is read by
/// columns.
pub fn log(update: &UpdateRow, screen: Screen) -> impl Iterator<Item = String> {
    update.log.iter().map(move |line| {
        let line = cut(&format!("{LOG_INDENT}{}", one_line(line)), screen.width);
        screen.paint(Style::Dim, &line)
    })
}
