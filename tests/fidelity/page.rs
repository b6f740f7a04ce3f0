//! Writes `docs/fidelity.md` from the records of all runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::record::{AttemptResult, Count, Outcome, Record};
use crate::table::rows;

const HEAD: &str = include_str!("page-head.md");
const FOOT: &str = include_str!("page-foot.md");

/// The longest excerpt of an Engine's message, in characters: one line of a table.
const WORDS_MAX: usize = 160;

/// Writes the page.
pub fn write() {
    let records = Record::all();
    let (ours, peers): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.updater.starts_with("pilotfish"));
    let mut page = HEAD.to_owned();
    page.push_str(&totals(&ours));
    page.push_str(&groups(&ours));
    page.push_str(&listed("Refused by name", REFUSED, &ours, |outcome| match outcome {
        Outcome::Refused(why) => Some(why),
        _ => None,
    }));
    page.push_str(&listed("Not kept", LOST, &ours, |outcome| match outcome {
        Outcome::Lost(why) => Some(why),
        _ => None,
    }));
    page.push_str(&listed("What the Engine does not offer", NOT_OFFERED, &ours, |outcome| {
        match outcome {
            Outcome::NotOffered(why) => Some(why),
            _ => None,
        }
    }));
    peers.iter().for_each(|peer| page.push_str(&comparison(peer, &ours)));
    page.push('\n');
    page.push_str(FOOT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fidelity.md");
    fs::write(path, page).expect("docs/fidelity.md");
    ours.iter().for_each(|record| println!("{}", record.sentence()));
    for peer in peers {
        let (kept, all) = (peer.rows.len() - own_losses(peer).len(), peer.rows.len());
        println!("{} on {}: {kept} of {all} kept", peer.updater, peer.engine);
    }
}

const REFUSED: &str =
    "An update of such a container is `cannot_recreate`; Pilotfish leaves the container alone.";
const LOST: &str = "These are bugs, or limits of what the Engine tells. The table shows the field and what happened to it.";
const NOT_OFFERED: &str = "The Engine could not create the container, so there was nothing to update. The table quotes the Engine.";

/// One line for each Engine.
fn totals(records: &[&Record]) -> String {
    let mut text =
        "\n| Engine | kept | refused by name | not kept | of |\n|---|---|---|---|---|\n".to_owned();
    for record in records {
        let Count { kept, refused, total } = Count::of(record.rows.iter());
        let lost = total - kept - refused;
        row(&mut text, &[&record.engine, &kept, &refused, &lost, &total]);
    }
    text
}

/// Kept rows and all rows, for each heading of the table and each Engine.
fn groups(records: &[&Record]) -> String {
    let mut text = "\n| group |".to_owned();
    for record in records {
        let _ = write!(text, " {} |", record.engine);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(records.len()));
    text.push('\n');
    let mut seen = Vec::new();
    for group in rows().into_iter().map(|row| row.group) {
        if seen.contains(&group) {
            continue;
        }
        let _ = write!(text, "| {group} |");
        for record in records {
            let of_group = record.rows.iter().filter(|row| row.group == group);
            let Count { kept, refused, total } = Count::of(of_group);
            let more = if refused > 0 { format!(", {refused} refused") } else { String::new() };
            let _ = write!(text, " {kept}/{total}{more} |");
        }
        text.push('\n');
        seen.push(group);
    }
    text
}

/// Rows with one kind of outcome, with the Engines and the reasons.
fn listed(
    title: &str,
    sentence: &str,
    records: &[&Record],
    why: impl Fn(&Outcome) -> Option<&String>,
) -> String {
    let mut found: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for record in records {
        for AttemptResult { name, outcome, .. } in &record.rows {
            if let Some(why) = why(outcome) {
                found.entry((name, cell(why))).or_default().push(&record.engine);
            }
        }
    }
    if found.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## {title}\n\n{sentence}\n\n| row | Engine | why |\n|---|---|---|\n");
    for ((name, why), engines) in found {
        let engines =
            if engines.len() == records.len() { "all".to_owned() } else { engines.join(", ") };
        row(&mut text, &[&format!("`{name}`"), &engines, &why]);
    }
    text
}

/// The same rows for another updater and for Pilotfish, on the same Engine.
///
/// What it loses of a container without any option, it loses in every row. That is counted once, in
/// the rows without an option.
fn comparison(peer: &Record, records: &[&Record]) -> String {
    let Some(ours) = records.iter().find(|record| record.engine == peer.engine) else {
        return String::new();
    };
    let lost = own_losses(peer);
    let (theirs, total) = (peer.rows.len() - lost.len(), peer.rows.len());
    let same = |row: &&AttemptResult| peer.row(&row.name).is_some();
    let kept = Count::of(ours.rows.iter().filter(same)).kept;
    let mut text = format!(
        "\n## Comparison with {0}\n\nThe rows whose containers start on {1}, updated by {0} and judged by the same \
         code: it keeps **{theirs} of {total}**, Pilotfish {kept}. Losses that happen also without any option \
         count only once, in the first two rows.\n\n| row | what happened to it |\n|---|---|\n",
        peer.updater, peer.engine,
    );
    for (AttemptResult { name, .. }, why) in lost {
        row(&mut text, &[&format!("`{name}`"), &cell(&why)]);
    }
    text
}

fn own_losses(peer: &Record) -> Vec<(&AttemptResult, String)> {
    peer.rows.iter().filter_map(|row| Some((row, own_loss(peer, row)?))).collect()
}

/// The losses of this row beyond those of the row without any option.
fn own_loss(peer: &Record, row: &AttemptResult) -> Option<String> {
    let (Outcome::Lost(why) | Outcome::NotOffered(why) | Outcome::Refused(why)) = &row.outcome
    else {
        return None;
    };
    let on_plain = rows().iter().any(|it| it.name == row.name && it.create.contains("PLAIN"));
    let bare = if on_plain { "no option, an image that brings little" } else { "no option" };
    let always = peer.row(bare).map(paths).unwrap_or_default();
    let is_own = |line: &&str| row.name == bare || !always.contains(&path(line));
    let lines: Vec<&str> = why.lines().filter(is_own).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The lost fields of a row.
fn paths(row: &AttemptResult) -> Vec<&str> {
    match &row.outcome {
        Outcome::Lost(why) => why.lines().map(path).collect(),
        _ => Vec::new(),
    }
}

/// The field in a line of a loss.
fn path(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(path, _)| path)
}

/// Text from others as a cell of a table: one line, not too long, without cell separators.
fn cell(words: &str) -> String {
    let line = words.lines().next().unwrap_or_default().replace('|', "/");
    let more = words.lines().count().saturating_sub(1);
    let cut: String = line.chars().take(WORDS_MAX).collect();
    let dots = if cut.len() < line.len() { "…" } else { "" };
    let rest = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    format!("{cut}{dots}{rest}")
}

fn row(text: &mut String, cells: &[&dyn std::fmt::Display]) {
    text.push('|');
    for cell in cells {
        let _ = write!(text, " {cell} |");
    }
    text.push('\n');
}
