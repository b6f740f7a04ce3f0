//! What scripts read. Field names are stable, digests are whole, times are RFC 3339 in UTC.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;

use crate::core::history::Record;
use crate::core::report::Report;

/// Digits behind the second. More would be noise.
const SUBSECOND_DIGITS: u16 = 3;

#[derive(Serialize)]
struct CheckDocument<'a> {
    checked_at: DateTime<Utc>,
    containers: &'a [Report],
}

#[derive(Serialize)]
struct HistoryDocument<'a> {
    updates: &'a [Record],
}

/// The document of `check --json` and `update --dry-run --json`.
///
/// # Errors
/// Never in practice: nothing in a report is beyond JSON.
pub fn check_json(checked_at: DateTime<Utc>, reports: &[Report]) -> serde_json::Result<String> {
    let checked_at = checked_at.trunc_subsecs(SUBSECOND_DIGITS);
    document(&CheckDocument { checked_at, containers: reports })
}

/// The document of `history --json`, in the order given, which is newest first.
///
/// # Errors
/// Never in practice: nothing in a record is beyond JSON.
pub fn history_json(records: &[Record]) -> serde_json::Result<String> {
    document(&HistoryDocument { updates: records })
}

fn document(document: &impl Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}
