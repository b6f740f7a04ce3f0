//! The table of `pilotfish check`.

use std::collections::BTreeMap;

use crate::core::decide::reason::Reason;
use crate::core::decide::report::Verdict;
use crate::documents::{ContainerRow, IgnoredLabelsRow, QuotaRow};
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{counted, counted_subjects, short, spaced};
use crate::output::table::{Cell, Column, INDENT, TableRow, natural_width, push_line, render};
use crate::output::text::{one_line, wrap};

/// The text if no container is watched.
const NOBODY: &str = "No container is watched. Start one with the label pilotfish.enable=true.\n";

/// The text before an advice.
const ADVICE: &str = "    → ";

const COLUMNS: [Column; 5] = [
    Column { title: "CONTAINER", shortest: Some(9) },
    Column { title: "IMAGE", shortest: Some(12) },
    Column { title: "RUNNING", shortest: None },
    Column { title: "OFFERED", shortest: None },
    Column { title: "VERDICT", shortest: None },
];

/// A row for every container; below the table, for every "no", the reason and the advice; at the
/// end, the count of each verdict.
#[must_use]
pub fn check(rows: &[ContainerRow], screen: Screen) -> String {
    if rows.is_empty() {
        return NOBODY.to_owned();
    }
    let mut text = render(&COLUMNS, &table_rows(rows, screen), screen);
    text.push_str(&notes(rows, screen));
    text.push('\n');
    text.push_str(&closing(rows, screen));
    text
}

/// The reason follows the verdict if there is space for it; it is repeated below anyway.
fn table_rows(rows: &[ContainerRow], screen: Screen) -> Vec<TableRow> {
    let shown = |with_reason: bool| -> Vec<TableRow> {
        rows.iter().map(|row| table_row(row, with_reason)).collect()
    };
    let long = shown(true);
    let is_too_wide = |columns| natural_width(&COLUMNS, &long) > columns;
    if screen.width.is_some_and(is_too_wide) { shown(false) } else { long }
}

fn table_row(row: &ContainerRow, with_reason: bool) -> TableRow {
    let mut verdict = spaced(row.verdict.word());
    if let Some(reason) = row.reason.filter(|_| with_reason) {
        verdict = format!("{verdict}: {reason}");
    }
    let is_news = row.is_update_available();
    let offered = if is_news { Style::Cyan } else { Style::Dim };
    let cells = vec![
        Cell::plain(one_line(&row.subject.to_string())),
        Cell::plain(one_line(&row.image)),
        Cell::plain(short(row.running.as_ref())),
        Cell { text: short(row.offered.as_ref()), paint: offered },
        Cell { text: verdict, paint: paint(row.verdict) },
    ];
    TableRow { cells, below: Vec::new() }
}

const fn paint(verdict: Verdict) -> Style {
    match verdict {
        Verdict::UpToDate => Style::Green,
        Verdict::Update => Style::Cyan,
        Verdict::Held => Style::Yellow,
        Verdict::Error => Style::Red,
    }
}

/// For every "no": its word, its details, and the advice.
pub fn notes(rows: &[ContainerRow], screen: Screen) -> String {
    let mut text = String::new();
    for row in rows {
        let Some(reason) = row.reason else { continue };
        text.push('\n');
        for line in wrap(&heading(row, reason), "", screen.width) {
            push_line(&mut text, &screen.paint(paint(row.verdict), &line));
        }
        let detail = row.detail.iter().map(|detail| (INDENT, detail));
        let advice = row.advice.iter().map(|advice| (ADVICE, advice));
        for (indent, words) in detail.chain(advice) {
            let lines = wrap(&one_line(words), indent, screen.width);
            lines.iter().for_each(|line| push_line(&mut text, line));
        }
    }
    text.push_str(&remarks(rows, screen));
    text.push_str(&dependents(rows, screen));
    text.push_str(&rollbacks(rows, screen));
    text.push_str(&drops(rows, screen));
    text
}

/// A line for each row that is up to date, and about which there is still something to say.
fn remarks(rows: &[ContainerRow], screen: Screen) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::UpToDate) {
        let Some(detail) = &row.detail else { continue };
        let sentence = format!("{}: {detail}", one_line(&row.subject.to_string()));
        text.push('\n');
        wrap(&one_line(&sentence), "", screen.width)
            .iter()
            .for_each(|line| push_line(&mut text, line));
    }
    text
}

/// A line for each container with files that its next update would drop.
fn drops(rows: &[ContainerRow], screen: Screen) -> String {
    let mut text = String::new();
    for row in rows {
        let Some(first) = row.drops.first() else { continue };
        let more = match row.drops.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let name = one_line(&row.subject.to_string());
        let sentence =
            format!("an update of {name} drops {first}{more}, copied into the container");
        text.push('\n');
        for line in wrap(&one_line(&sentence), "", screen.width) {
            push_line(&mut text, &screen.paint(Style::Yellow, &line));
        }
    }
    text
}

/// A line for each container that would be updated together with others.
fn dependents(rows: &[ContainerRow], screen: Screen) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::Update) {
        let Some(detail) = &row.detail else { continue };
        let sentence = format!("{}: {detail}", one_line(&row.subject.to_string()));
        text.push('\n');
        for line in wrap(&one_line(&sentence), "", screen.width) {
            push_line(&mut text, &screen.paint(Style::Cyan, &line));
        }
    }
    text
}

/// A line for each container that cannot be rolled back by hand, although it should be.
fn rollbacks(rows: &[ContainerRow], screen: Screen) -> String {
    let mut text = String::new();
    for row in rows {
        let Some(why) = &row.no_rollback else { continue };
        let sentence =
            format!("{} cannot be rolled back: {why}", one_line(&row.subject.to_string()));
        text.push('\n');
        for line in wrap(&one_line(&sentence), "", screen.width) {
            push_line(&mut text, &screen.paint(Style::Yellow, &line));
        }
    }
    text
}

fn heading(row: &ContainerRow, reason: Reason) -> String {
    let what = if row.verdict == Verdict::Error { "could not be checked" } else { "is held" };
    format!("{} {what}: {reason}", one_line(&row.subject.to_string()))
}

/// `5 containers: 3 up to date, 1 update, 1 held`
fn closing(rows: &[ContainerRow], screen: Screen) -> String {
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let kinds = [
        (count(Verdict::UpToDate), "up to date", "up to date"),
        (count(Verdict::Update), "update", "updates"),
        (count(Verdict::Held), "held", "held"),
        (count(Verdict::Error), "error", "errors"),
    ];
    closing_line(&counted_subjects(rows.iter().map(|row| &row.subject)), &kinds, screen)
}

/// A line for each registry with what is left of its quota, for below the table.
#[must_use]
pub fn quotas(quotas: &BTreeMap<String, QuotaRow>, screen: Screen) -> String {
    let mut text = String::new();
    for (registry, quota) in quotas {
        let sentence = format!("{}: {}", one_line(registry), quota.in_words());
        wrap(&sentence, "", screen.width).iter().for_each(|line| push_line(&mut text, line));
    }
    text
}

/// The ignored labels of images, a line for each container.
#[must_use]
pub fn ignored_labels(all: &[IgnoredLabelsRow], screen: Screen) -> String {
    let mut text = String::new();
    let unwatched = all.iter().filter(|it| !it.watched).count();
    if unwatched > 0 {
        let containers = counted(unwatched, "container", "containers");
        let sentence = format!("{containers} ignored, because only their images ask for updates:");
        wrap(&sentence, "", screen.width).iter().for_each(|line| push_line(&mut text, line));
    }
    // Unwatched containers come first, under their heading.
    for one in all.iter().filter(|it| !it.watched).chain(all.iter().filter(|it| it.watched)) {
        let sentence = one_line(&format!("{}: {}", one.container, one.in_words()));
        let indent = if one.watched { "" } else { INDENT };
        for line in wrap(&sentence, indent, screen.width) {
            push_line(&mut text, &screen.paint(Style::Yellow, &line));
        }
    }
    text
}

/// How many there are of each kind. Each kind has its word for one and for several.
pub fn closing_line(subjects: &str, kinds: &[(usize, &str, &str)], screen: Screen) -> String {
    let present = kinds.iter().filter(|(count, _, _)| *count > 0);
    let parts: Vec<_> =
        present.map(|(count, one, several)| counted(*count, one, several)).collect();
    let mut text = String::new();
    for line in wrap(&format!("{subjects}: {}", parts.join(", ")), "", screen.width) {
        push_line(&mut text, &line);
    }
    text
}
