//! One container or service in a check.

use serde::{Deserialize, Serialize};

use crate::core::decide::reason::Reason;
use crate::core::decide::report::{Report, Verdict, is_update_available};
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;

/// What a check says about one container or service: a row of `check --json` and `status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRow {
    #[serde(flatten)]
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub running: Option<Digest>,
    /// The digest that the tag points at, if it is known.
    pub offered: Option<Digest>,
    pub verdict: Verdict,
    /// For `held` and `error`.
    pub reason: Option<Reason>,
    /// The exact cause, in one sentence; for an update, the containers that are recreated with it.
    pub detail: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
    /// Why a rollback by hand is not possible, although there should be a previous image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_rollback: Option<String>,
    /// Files that a person copied into the container. Its next update drops them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<String>,
}

impl ContainerRow {
    /// Whether the offered image is another one than the running one, held or not.
    #[must_use]
    pub fn is_update_available(&self) -> bool {
        is_update_available(self.verdict, self.running.as_ref(), self.offered.as_ref())
    }
}

impl From<&Report> for ContainerRow {
    fn from(report: &Report) -> Self {
        Self {
            subject: report.subject.clone(),
            image: report.image.clone(),
            running: report.running.clone(),
            offered: report.offered.clone(),
            verdict: report.verdict,
            reason: report.reason,
            detail: report.detail.clone(),
            advice: report.advice.clone(),
            no_rollback: report.no_rollback.clone(),
            drops: report.drops.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_of_a_newer_version_is_read() {
        let row = json!({
            "service": "web", "image": "shop/web:1", "verdict": "up_to_date",
            "running": null, "rank": 7,
        });
        let row: ContainerRow = serde_json::from_value(row).expect("a row");
        assert_eq!(row.subject, Subject::service("web"));
        let written = serde_json::to_value(&row).expect("JSON");
        assert_eq!(written["service"], "web");
        assert_eq!(written.get("container"), None);
        assert_eq!(serde_json::from_value::<ContainerRow>(written).expect("a row"), row);
    }
}
