//! The last words of `pilotfish update`.

use crate::core::history::{Outcome, Record};
use crate::core::report::{Report, Verdict};
use crate::output::check::{closing_line, notes};
use crate::output::screen::Screen;
use crate::output::sentence::ended;
use crate::output::table::push_line;
use crate::output::text::{one_line, wrap};

/// How each update ended, why the others did not begin, and how many there were of each kind.
///
/// `reports` are what was found before the updates, for every container that was asked for.
#[must_use]
pub fn update_summary(records: &[Record], reports: &[Report], screen: Screen) -> String {
    let mut ends = String::new();
    for record in records {
        let sentence = format!("{}: {}", one_line(&record.container), ended(record));
        wrap(&sentence, "", screen.width).iter().for_each(|line| push_line(&mut ends, line));
    }
    let notes = notes(reports, screen).trim_start_matches('\n').to_owned();
    let parts = [ends, notes, closing(records, reports, screen)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn closing(records: &[Record], reports: &[Report], screen: Screen) -> String {
    let is_tried = |report: &Report| records.iter().any(|one| one.container == report.container);
    let ended = |outcome| records.iter().filter(|record| record.outcome == outcome).count();
    let untouched = |verdict| {
        let of_that_kind = reports.iter().filter(|report| report.verdict == verdict);
        of_that_kind.filter(|report| !is_tried(report)).count()
    };
    let kinds = [
        (ended(Outcome::Updated), "updated", "updated"),
        (ended(Outcome::RolledBack), "rolled back", "rolled back"),
        (ended(Outcome::Failed), "failed", "failed"),
        (ended(Outcome::Interrupted), "interrupted", "interrupted"),
        (ended(Outcome::Stuck), "stuck", "stuck"),
        (untouched(Verdict::Update), "not finished", "not finished"),
        (untouched(Verdict::UpToDate), "up to date", "up to date"),
        (untouched(Verdict::Held), "held", "held"),
        (untouched(Verdict::Error), "error", "errors"),
    ];
    let total: usize = kinds.iter().map(|(count, _, _)| count).sum();
    if total == 0 {
        return "No container is watched.\n".to_owned();
    }
    closing_line(total, &kinds, screen)
}
