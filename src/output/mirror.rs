//! The page of `pilotfish mirror --once` and `--dry-run`, and the lines of the copies under way.

use std::time::Duration;

use crate::documents::{MirrorDocument, MirrorFailure, MirrorOutcome, MirrorRuleRow, MirrorTagRow};
use crate::output::check::quotas;
use crate::output::screen::{Screen, Style};
use crate::output::sentence::{bytes, counted, short, spaced};
use crate::output::table::{Cell, Column, INDENT, TableRow, push_line, render};
use crate::output::text::{one_line, wrap};

/// The text before an advice.
const ADVICE: &str = "    → ";

/// Shortest time of a copy before its rate is shown.
const RATE_AFTER: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 6] = [
    Column { title: "TO", shortest: Some(12) },
    Column { title: "TAG", shortest: Some(8) },
    Column { title: "RESULT", shortest: None },
    Column { title: "DIGEST", shortest: None },
    Column { title: "MISSING", shortest: None },
    Column { title: "PULLS", shortest: None },
];

/// A row for every tag; below the table every "no" with its advice, deleted tags, and a summary.
#[must_use]
pub fn mirror(document: &MirrorDocument, screen: Screen) -> String {
    let rows = document.rules.iter().flat_map(|rule| rule.tags.iter().map(move |tag| (rule, tag)));
    let table: Vec<_> = rows.clone().map(|(rule, tag)| table_row(rule, tag)).collect();
    // Only a dry run knows what is missing.
    let is_preview = rows.clone().any(|(_, tag)| tag.missing_bytes.is_some());
    let columns = if is_preview { COLUMNS.len() } else { COLUMNS.len() - 2 };
    let mut text = String::new();
    if !table.is_empty() {
        text.push_str(&render(&COLUMNS[..columns], &shortened(table, columns), screen));
    }
    for rule in &document.rules {
        push_failure(&mut text, &rule.rule, rule.failure.as_ref(), screen);
        for tag in &rule.tags {
            let name = format!("{}:{}", rule.from, tag.tag);
            push_failure(&mut text, &name, tag.failure.as_ref(), screen);
        }
        push_notes(&mut text, rule, screen);
    }
    if rows.clone().next().is_some() {
        let closing = wrap(&closing(document), "", screen.width);
        text.push('\n');
        closing.iter().for_each(|line| push_line(&mut text, line));
    }
    text.push_str(&quotas(&document.quotas, screen));
    text
}

fn shortened(rows: Vec<TableRow>, columns: usize) -> Vec<TableRow> {
    let cut = |mut row: TableRow| {
        row.cells.truncate(columns);
        row
    };
    rows.into_iter().map(cut).collect()
}

fn table_row(rule: &MirrorRuleRow, tag: &MirrorTagRow) -> TableRow {
    let (result, paint) = match (&tag.failure, tag.outcome) {
        (Some(failure), _) => (failure.reason.clone(), Style::Red),
        (None, outcome @ MirrorOutcome::UpToDate) => (spaced(outcome.word()), Style::Green),
        (None, outcome) => (spaced(outcome.word()), Style::Cyan),
    };
    let missing = tag.missing_bytes.filter(|_| tag.outcome == MirrorOutcome::Due);
    let pulls = tag.pulls.filter(|pulls| *pulls > 0);
    TableRow {
        cells: vec![
            Cell::plain(one_line(&rule.to)),
            Cell::plain(one_line(&tag.tag)),
            Cell { text: result, paint },
            Cell::plain(short(tag.digest.as_ref())),
            Cell::plain(missing.map_or_else(|| "–".to_owned(), bytes)),
            Cell::plain(pulls.map_or_else(|| "–".to_owned(), |pulls| pulls.to_string())),
        ],
        below: Vec::new(),
    }
}

fn push_failure(text: &mut String, name: &str, failure: Option<&MirrorFailure>, screen: Screen) {
    let Some(MirrorFailure { reason, detail, advice }) = failure else { return };
    text.push('\n');
    for line in wrap(&format!("{} is not copied: {reason}", one_line(name)), "", screen.width) {
        push_line(text, &screen.paint(Style::Red, &line));
    }
    for (indent, words) in [(INDENT, detail), (ADVICE, advice)] {
        wrap(&one_line(words), indent, screen.width).iter().for_each(|line| push_line(text, line));
    }
}

/// What is worth a sentence: deleted tags, and copies of some platforms.
fn push_notes(text: &mut String, rule: &MirrorRuleRow, screen: Screen) {
    let to = one_line(&rule.to);
    let mut sentences = Vec::new();
    if !rule.deleted.is_empty() {
        sentences.push(format!("{to}: old tags deleted: {}", rule.deleted.join(", ")));
    }
    if rule.tags.iter().any(|tag| !tag.is_whole) {
        sentences.push(format!(
            "{to}: only some platforms are copied, so the digest differs from that of {}",
            one_line(&rule.from)
        ));
    }
    for sentence in sentences {
        text.push('\n');
        wrap(&one_line(&sentence), "", screen.width).iter().for_each(|line| push_line(text, line));
    }
}

/// `3 tags: 2 up to date, 1 due: 40.1 MB, 3 pulls`
fn closing(document: &MirrorDocument) -> String {
    let tags: Vec<_> = document.rules.iter().flat_map(|rule| &rule.tags).collect();
    let count = |outcome| tags.iter().filter(|tag| tag.outcome == outcome).count();
    let kinds = [
        (MirrorOutcome::UpToDate, "up to date"),
        (MirrorOutcome::Copied, "copied"),
        (MirrorOutcome::DocumentsCopied, "with new documents"),
        (MirrorOutcome::Due, "due"),
        (MirrorOutcome::Failed, "failed"),
    ];
    let kinds = kinds.map(|(outcome, word)| (count(outcome), word));
    let parts = kinds.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, word)| format!("{count} {word}")).collect();
    let mut line = counted(tags.len(), "tag", "tags");
    if !parts.is_empty() {
        line.push_str(&format!(": {}", parts.join(", ")));
    }
    if count(MirrorOutcome::Due) > 0 {
        let missing = tags.iter().filter_map(|tag| tag.missing_bytes).fold(0, u64::saturating_add);
        let pulls = tags.iter().filter_map(|tag| tag.pulls).sum::<usize>();
        line.push_str(&format!(
            "; a run sends {} and costs {}",
            bytes(missing),
            counted(pulls, "pull", "pulls")
        ));
    }
    line
}

/// One copy under way, for a line of the terminal.
#[derive(Debug, Clone)]
pub struct CopyUnderWay {
    /// `registry:443/table/till:v1`.
    pub name: String,
    pub blobs: usize,
    pub blobs_done: usize,
    pub bytes: u64,
    /// Bytes of the blobs that the target has now, and of the one on its way.
    pub bytes_done: u64,
    /// Bytes that the source sent.
    pub received: u64,
    pub took: Duration,
}

/// `registry:443/table/till:v1  3/9 blobs, 12.3 MB of 40.1 MB, 5.2 MB/s`
#[must_use]
pub fn copies_under_way(copies: &[CopyUnderWay]) -> String {
    let mut text = String::new();
    for copy in copies {
        let CopyUnderWay { name, blobs, blobs_done, bytes: total, bytes_done, received, took } =
            copy;
        let mut line = format!(
            "{}  {blobs_done}/{blobs} blobs, {} of {}",
            one_line(name),
            bytes((*bytes_done).min(*total)),
            bytes(*total)
        );
        if *took >= RATE_AFTER {
            let rate = *received as f64 / took.as_secs_f64();
            line.push_str(&format!(", {}/s", bytes(rate as u64)));
        }
        push_line(&mut text, &line);
    }
    text
}
