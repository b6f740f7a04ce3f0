//! The end of the output of `pilotfish update`.

use crate::core::decide::report::{Report, Verdict};
use crate::core::update::history::{Outcome, Record};
use crate::output::check::{closing_line, notes};
use crate::output::screen::Screen;

/// Why some updates did not begin, and the count of each outcome. The results of the others were
/// shown when they ended.
///
/// `reports` are the reports on the containers that were asked for.
#[must_use]
pub fn update_summary(records: &[Record], reports: &[Report], screen: Screen) -> String {
    let notes = notes(reports, screen).trim_start_matches('\n').to_owned();
    let separator = if notes.is_empty() { "" } else { "\n" };
    format!("{notes}{separator}{}", closing(records, reports, screen))
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
