//! The document of `check --json`, a part of that of `update --dry-run --json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ContainerRow, rounded};
use crate::agent::RoundEnd;
use crate::core::policy::own_labels::{self, IgnoredFor, Labels};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDocument {
    /// When the containers were checked.
    pub checked_at: DateTime<Utc>,
    /// One row for every watched container, by name.
    pub containers: Vec<ContainerRow>,
    /// Labels that do not count.
    #[serde(default)]
    pub ignored_labels: Vec<IgnoredLabelsRow>,
}

/// Labels that concern a container, and do not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredLabelsRow {
    pub container: String,
    /// The labels, with their values.
    pub labels: Labels,
    /// Whether the container is watched anyway.
    pub watched: bool,
    /// Why they do not count; absent: they are labels of the image.
    #[serde(default, skip_serializing_if = "IgnoredFor::is_image")]
    pub because: IgnoredFor,
}

impl IgnoredLabelsRow {
    /// What does not count, and what to do about it, in one sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { container, labels, watched, because } = self.clone();
        own_labels::IgnoredLabels { container, because, labels, watched }.in_words()
    }
}

impl From<&own_labels::IgnoredLabels> for IgnoredLabelsRow {
    fn from(ignored: &own_labels::IgnoredLabels) -> Self {
        let own_labels::IgnoredLabels { container, because, labels, watched } = ignored.clone();
        Self { container, labels, watched, because }
    }
}

impl From<&RoundEnd> for CheckDocument {
    fn from(end: &RoundEnd) -> Self {
        Self {
            checked_at: rounded(end.checked_at),
            containers: end.reports.iter().map(ContainerRow::from).collect(),
            ignored_labels: end.ignored_labels.iter().map(IgnoredLabelsRow::from).collect(),
        }
    }
}
