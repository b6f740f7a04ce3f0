//! What scripts read. Field names are stable, digests are whole, times are RFC 3339 in UTC.

use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;

use crate::control::Status;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::{Report, Verdict};
use crate::core::decide::snapshot::ActiveUpdate;
use crate::core::docker::reference::Digest;
use crate::core::policy::own_labels::IgnoredLabels;
use crate::core::text::harmless_json;
use crate::core::update::history::Record;

/// Digits behind the second. More would be noise.
const SUBSECOND_DIGITS: u16 = 3;

#[derive(Serialize)]
struct CheckDocument<'a> {
    checked_at: DateTime<Utc>,
    containers: Vec<ContainerDocument<'a>>,
    ignored_labels: &'a [IgnoredLabels],
}

#[derive(Serialize)]
struct ContainerDocument<'a> {
    container: &'a str,
    image: &'a str,
    running: Option<&'a Digest>,
    offered: Option<&'a Digest>,
    verdict: Verdict,
    reason: Option<Reason>,
    detail: Option<&'a str>,
    advice: Option<&'a str>,
}

#[derive(Serialize)]
struct StatusDocument<'a> {
    version: &'a str,
    pid: u32,
    ready: bool,
    error: Option<&'a str>,
    last_check: Option<DateTime<Utc>>,
    next_check: Option<DateTime<Utc>>,
    in_flight: &'a [ActiveUpdate],
    stuck: &'a [String],
    down: &'a [String],
    containers: Vec<ContainerDocument<'a>>,
}

impl<'a> From<&'a Report> for ContainerDocument<'a> {
    fn from(report: &'a Report) -> Self {
        Self {
            container: &report.container,
            image: &report.image,
            running: report.running.as_ref(),
            offered: report.offered.as_ref(),
            verdict: report.verdict,
            reason: report.reason,
            detail: report.detail.as_deref(),
            advice: report.advice.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct HistoryDocument<'a> {
    updates: &'a [Record],
}

/// The document of `check --json` and `update --dry-run --json`.
///
/// # Errors
/// Never in practice: nothing in a report is beyond JSON.
pub fn check_json(
    checked_at: DateTime<Utc>,
    reports: &[Report],
    ignored_labels: &[IgnoredLabels],
) -> serde_json::Result<String> {
    let checked_at = short(checked_at);
    let containers = reports.iter().map(ContainerDocument::from).collect();
    document(&CheckDocument { checked_at, containers, ignored_labels })
}

/// The document of `history --json`, in the order given, which is newest first.
///
/// # Errors
/// Never in practice: nothing in a record is beyond JSON.
pub fn history_json(records: &[Record]) -> serde_json::Result<String> {
    document(&HistoryDocument { updates: records })
}

/// The document of `status --json`.
///
/// # Errors
/// Never in practice: nothing in a status is beyond JSON.
pub fn status_json(status: &Status) -> serde_json::Result<String> {
    let Status { version, pid, snapshot } = status;
    document(&StatusDocument {
        version,
        pid: *pid,
        containers: snapshot.reports.iter().map(ContainerDocument::from).collect(),
        last_check: snapshot.last_check.map(short),
        next_check: snapshot.next_check.map(short),
        in_flight: &snapshot.in_flight,
        stuck: &snapshot.stuck,
        down: &snapshot.down,
        ready: snapshot.is_ready,
        error: snapshot.error.as_deref(),
    })
}

fn short(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(SUBSECOND_DIGITS)
}

fn document(document: &impl Serialize) -> serde_json::Result<String> {
    let mut text = harmless_json(&serde_json::to_string_pretty(document)?);
    text.push('\n');
    Ok(text)
}
