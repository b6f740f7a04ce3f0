//! What scripts read: a document on several lines.

use serde::Serialize;

use crate::core::text::harmless_json;
use crate::documents::{
    CheckDocument, FleetDocument, HistoryDocument, MirrorDocument, RoundDocument, StatusDocument,
};

/// The document of `check --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn check_json(check: &CheckDocument) -> serde_json::Result<String> {
    pretty(check)
}

/// The document of `update --dry-run --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn dry_run_json(round: &RoundDocument) -> serde_json::Result<String> {
    pretty(round)
}

/// The document of `history --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn history_json(history: &HistoryDocument) -> serde_json::Result<String> {
    pretty(history)
}

/// The document of `status --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn status_json(status: &StatusDocument) -> serde_json::Result<String> {
    pretty(status)
}

/// The document of `fleet --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn fleet_json(fleet: &FleetDocument) -> serde_json::Result<String> {
    pretty(fleet)
}

/// The document of `mirror --once --json` and `mirror --dry-run --json`.
///
/// # Errors
/// Never in practice: nothing in the document is beyond JSON.
pub fn mirror_json(mirror: &MirrorDocument) -> serde_json::Result<String> {
    pretty(mirror)
}

fn pretty(document: &impl Serialize) -> serde_json::Result<String> {
    let mut text = harmless_json(&serde_json::to_string_pretty(document)?);
    text.push('\n');
    Ok(text)
}
