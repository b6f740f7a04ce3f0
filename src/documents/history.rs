//! The document of `history --json`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::core::update::history::{GroupRecord, Outcome, Record};

/// The history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// Every update that is still in the history, newest first.
    pub updates: Vec<UpdateRow>,
}

/// One update, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRow {
    /// Unique on this machine.
    pub id: String,
    #[serde(flatten)]
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that ran before, if it is known.
    pub from: Option<Digest>,
    /// The digest that was offered, if it is known.
    pub to: Option<Digest>,
    /// When the update began, by the machine's clock; for several tries, when the first began.
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    pub outcome: Outcome,
    /// How many tries in a row failed with the same image before anything was stopped.
    pub tries: u32,
    /// Why, in one sentence, for every outcome except `updated`.
    pub reason: Option<String>,
    /// From the stop of the old container to the start of the container that runs now. Absent if
    /// nothing was stopped, or if the agent restarted in between.
    pub gap_seconds: Option<f64>,
    /// The last lines that the failed container wrote.
    #[serde(default)]
    pub log: Vec<String>,
    /// The dependents that were recreated with it, or should have been.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
    /// What only a group has.
    #[serde(flatten)]
    pub group: GroupRecord,
    /// The client that asked for it through the push API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl UpdateRow {
    /// The containers or the service that got a new image, or would have got one.
    pub fn subjects(&self) -> Vec<Subject> {
        if self.subject.group_name().is_none() {
            return vec![self.subject.clone()];
        }
        let members = self.group.members.iter();
        members.map(|member| Subject::container(&member.container)).collect()
    }

    /// Whether this container or service took part.
    #[must_use]
    pub fn concerns(&self, subject: &Subject) -> bool {
        let is_job = |name: &str| self.group.jobs.iter().any(|job| job.container == name);
        self.subjects().contains(subject)
            || subject.container_name().is_some_and(|name| {
                is_job(name)
                    || (self.subject.group_name().is_some()
                        && self.dependents.iter().any(|it| it == name))
            })
    }
}

impl From<&Record> for UpdateRow {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.clone(),
            subject: record.subject.clone(),
            image: record.image.clone(),
            from: record.from.clone(),
            to: record.to.clone(),
            started_at: record.started_at,
            finished_at: record.finished_at,
            outcome: record.outcome,
            tries: record.tries,
            reason: record.reason.clone(),
            gap_seconds: record.gap_seconds,
            log: record.log.clone(),
            dependents: record.dependents.clone(),
            group: record.group.clone(),
            by: record.by.clone(),
        }
    }
}

impl From<&[Record]> for HistoryDocument {
    fn from(records: &[Record]) -> Self {
        Self { updates: records.iter().map(UpdateRow::from).collect() }
    }
}
