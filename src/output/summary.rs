//! The end of the output of `pilotfish update`.

use crate::core::decide::report::Verdict;
use crate::core::update::history::Outcome;
use crate::documents::{ContainerRow, UpdateRow};
use crate::output::check::{closing_line, notes};
use crate::output::screen::Screen;
use crate::output::sentence::counted_subjects;

/// Why some updates did not begin, and the count of each outcome. The results of the others were
/// shown when they ended.
///
/// `rows` are those of the containers that were asked for.
#[must_use]
pub fn update_summary(updates: &[UpdateRow], rows: &[ContainerRow], screen: Screen) -> String {
    let notes = notes(rows, screen).trim_start_matches('\n').to_owned();
    let separator = if notes.is_empty() { "" } else { "\n" };
    format!("{notes}{separator}{}", closing(updates, rows, screen))
}

fn closing(updates: &[UpdateRow], rows: &[ContainerRow], screen: Screen) -> String {
    let is_tried = |row: &ContainerRow| updates.iter().any(|one| one.concerns(&row.subject));
    let tried: Vec<_> = updates.iter().flat_map(UpdateRow::subjects).collect();
    // A group counts as its containers.
    let ended = |outcome| {
        let of_that_kind = updates.iter().filter(|update| update.outcome == outcome);
        of_that_kind.map(|update| update.subjects().len()).sum()
    };
    let untouched = |verdict| {
        let of_that_kind = rows.iter().filter(|row| row.verdict == verdict);
        of_that_kind.filter(|row| !is_tried(row)).count()
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
    let not_tried = rows.iter().filter(|row| !is_tried(row)).map(|row| &row.subject);
    let subjects = tried.iter().chain(not_tried);
    closing_line(&counted_subjects(subjects), &kinds, screen)
}
