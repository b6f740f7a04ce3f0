//! The document of `status --json`.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ContainerRow, rounded};
use crate::core::decide::snapshot::{ActiveUpdate, Snapshot};
use crate::core::subject::{self, Subject};
use crate::core::update::Step;

/// The state of a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// The agent's version.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// The Engine has answered, and the agent has handled the updates that an earlier agent left
    /// open.
    pub ready: bool,
    /// Why the last round could not run at all.
    pub error: Option<String>,
    pub last_check: Option<DateTime<Utc>>,
    pub next_check: Option<DateTime<Utc>>,
    /// The updates in flight.
    #[serde(default)]
    pub in_flight: Vec<InFlightRow>,
    /// Those whose update can be neither finished nor undone.
    #[serde(default, with = "subject::list")]
    pub stuck: Vec<Subject>,
    /// Those that an update has stopped and that still do not run.
    #[serde(default, with = "subject::list")]
    pub down: Vec<Subject>,
    /// One row for every watched container, by name, from the last check.
    pub containers: Vec<ContainerRow>,
}

/// An update in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlightRow {
    #[serde(flatten)]
    pub subject: Subject,
    /// The step that it is at; absent before its first step.
    pub step: Option<Step>,
}

impl From<&ActiveUpdate> for InFlightRow {
    fn from(ActiveUpdate { subject, step }: &ActiveUpdate) -> Self {
        Self { subject: subject.clone(), step: *step }
    }
}

/// For people: `till (verify)`.
impl fmt::Display for InFlightRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        ActiveUpdate { subject: self.subject.clone(), step: self.step }.fmt(formatter)
    }
}

impl StatusDocument {
    /// The state of the agent with this version and process ID.
    #[must_use]
    pub fn new(version: &str, pid: u32, snapshot: &Snapshot) -> Self {
        Self {
            version: version.to_owned(),
            pid,
            ready: snapshot.is_ready,
            error: snapshot.error.clone(),
            last_check: snapshot.last_check.map(rounded),
            next_check: snapshot.next_check.map(rounded),
            in_flight: snapshot.in_flight.iter().map(InFlightRow::from).collect(),
            stuck: snapshot.stuck.clone(),
            down: snapshot.down.clone(),
            containers: snapshot.reports.iter().map(ContainerRow::from).collect(),
        }
    }
}
