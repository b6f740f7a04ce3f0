//! A task: one container of a service, as the Swarm tells of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::core::docker::inspect::text;

/// The states of a task, in the order in which a task goes through them (swarmkit,
/// `api/types.proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    New,
    /// It waits for a node, or for something on its node such as a port.
    Pending,
    Assigned,
    Accepted,
    /// Its node pulls the image and creates the container.
    Preparing,
    /// Its container exists and waits for the end of the old one.
    Ready,
    /// Its container runs but is not healthy yet.
    Starting,
    Running,
    /// Its container ended with code 0.
    Complete,
    /// The Swarm ended it.
    Shutdown,
    Failed,
    /// It could not be prepared: no image, no mount.
    Rejected,
    Remove,
    /// Its node has been away for a day.
    Orphaned,
    /// A word that this program does not know.
    Unknown,
}

impl TaskState {
    fn read(word: &str) -> Self {
        match word {
            "new" => Self::New,
            "pending" | "allocated" => Self::Pending,
            "assigned" => Self::Assigned,
            "accepted" => Self::Accepted,
            "preparing" => Self::Preparing,
            "ready" => Self::Ready,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" => Self::Complete,
            "shutdown" => Self::Shutdown,
            "failed" => Self::Failed,
            "rejected" => Self::Rejected,
            "remove" => Self::Remove,
            "orphaned" => Self::Orphaned,
            _ => Self::Unknown,
        }
    }

    /// The word of the Swarm; for people and for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
            Self::Unknown => "unknown",
        }
    }
}

/// How many tasks the Swarm wants to run, by the word of their state.
pub type TaskCounts = BTreeMap<&'static str, usize>;

/// Counts the tasks that shall run.
#[must_use]
pub fn count_wanted(tasks: &[SwarmTask]) -> TaskCounts {
    let mut counts = TaskCounts::new();
    for task in tasks.iter().filter(|task| task.desired == TaskState::Running) {
        *counts.entry(task.state.word()).or_default() += 1;
    }
    counts
}

/// A port that a service publishes on each of its nodes (`mode=host`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub protocol: String,
    pub target: u64,
    /// 0: any free port.
    pub published: u64,
}

impl HostPort {
    /// The ports with `mode=host` in a list of ports.
    #[must_use]
    pub fn read_all(ports: Option<&Value>) -> Vec<Self> {
        let ports = ports.and_then(Value::as_array).into_iter().flatten();
        let number = |port: &Value, field| port.get(field).and_then(Value::as_u64).unwrap_or(0);
        let read = |port: &Value| Self {
            protocol: match text(port, "/Protocol") {
                "" => "tcp".to_owned(),
                protocol => protocol.to_owned(),
            },
            target: number(port, "TargetPort"),
            published: number(port, "PublishedPort"),
        };
        ports.filter(|port| text(port, "/PublishMode") == "host").map(read).collect()
    }

    /// Whether a task that publishes `other` gives what this port asks for.
    fn is_given_by(&self, other: &Self) -> bool {
        let is_number = self.published == 0 || self.published == other.published;
        self.protocol == other.protocol && self.target == other.target && is_number
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmTask {
    pub id: String,
    /// The ID of its node; empty as long as it has none.
    pub node_id: String,
    /// Which of the replicas it is, from 1; 0 for a task of a global service.
    pub slot: u64,
    /// The image as in the service's specification.
    pub image: String,
    pub state: TaskState,
    /// Where the Swarm wants it to go.
    pub desired: TaskState,
    /// When it came to its state, by the clock of its node.
    pub at: Option<DateTime<Utc>>,
    /// Why it failed, in the words of its node; empty if it did not.
    pub error: String,
    /// What it does, in one or two words.
    pub message: String,
    /// The ports that its node publishes for it.
    pub ports: Vec<HostPort>,
}

impl SwarmTask {
    /// Reads a row of `GET /tasks`. `None`: it has no ID.
    #[must_use]
    pub fn read(task: &Value) -> Option<Self> {
        let owned = |pointer| text(task, pointer).to_owned();
        let id = owned("/ID");
        (!id.is_empty()).then(|| Self {
            id,
            node_id: owned("/NodeID"),
            slot: task.get("Slot").and_then(Value::as_u64).unwrap_or(0),
            image: owned("/Spec/ContainerSpec/Image"),
            state: TaskState::read(text(task, "/Status/State")),
            desired: TaskState::read(text(task, "/DesiredState")),
            at: DateTime::parse_from_rfc3339(text(task, "/Status/Timestamp"))
                .ok()
                .map(|at| at.with_timezone(&Utc)),
            error: owned("/Status/Err"),
            message: owned("/Status/Message"),
            ports: HostPort::read_all(task.pointer("/Status/PortStatus/Ports")),
        })
    }

    /// Whether it runs and is meant to go on running.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.state == TaskState::Running && self.desired <= TaskState::Running
    }

    /// Whether it ended by itself: it failed, was rejected, or its program ended with code 0.
    #[must_use]
    pub const fn has_ended_by_itself(&self) -> bool {
        matches!(self.state, TaskState::Failed | TaskState::Rejected | TaskState::Complete)
    }

    /// Whether all these ports are published for it. After a restart of the manager in the middle
    /// of an update, Swarm starts tasks whose ports nothing publishes, and calls them running.
    #[must_use]
    pub fn publishes(&self, wanted: &[HostPort]) -> bool {
        wanted.iter().all(|wanted| self.ports.iter().any(|given| wanted.is_given_by(given)))
    }

    /// What a person is told of it: the error, or else what it does.
    #[must_use]
    pub fn words(&self) -> &str {
        if self.error.is_empty() { &self.message } else { &self.error }
    }
}

/// All tasks of an answer.
#[must_use]
pub fn read_tasks(documents: &[Value]) -> Vec<SwarmTask> {
    documents.iter().filter_map(SwarmTask::read).collect()
}
