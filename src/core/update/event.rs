//! All events of an update. Log, metrics, history and the terminal receive the same events.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::report::Report;
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::history::{Cause, Record};

/// The progress of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes fetched so far.
    pub current: u64,
    /// Bytes of all layers that must be fetched, as far as known.
    pub total: u64,
    /// Layers that are complete.
    pub layers_done: usize,
    /// Layers that are known.
    pub layers: usize,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An update begins.
    UpdateBegun {
        subject: Subject,
        /// The container of a group that gets the image; there is one event for each of them.
        member: Option<String>,
        /// The image as the user wrote it.
        image: String,
        /// The digest that runs.
        from: Option<Digest>,
        /// The digest that shall run.
        to: Digest,
        /// The dependents that are recreated with it.
        dependents: Vec<String>,
    },
    /// An unfinished update is continued.
    Continued {
        subject: Subject,
        /// What happens with it now.
        intent: String,
    },
    /// A step begins.
    StepBegun { subject: Subject, step: Step },
    /// A step is complete.
    StepDone { subject: Subject, step: Step, took: Duration },
    /// Layers arrive.
    Pulling {
        subject: Subject,
        /// The registry that the layers come from.
        registry: String,
        progress: PullProgress,
    },
    /// A pull is complete.
    Pulled {
        /// The registry that the image came from.
        registry: String,
        /// Bytes that were fetched.
        bytes: u64,
    },
    /// An image is on this machine, and its update waits for a window or for the end of a lock.
    FetchedAhead {
        subject: Subject,
        /// The digest that shall run then.
        to: Digest,
    },
    /// The self-update helper now updates the agent's own container.
    SelfUpdating {
        subject: Subject,
        /// The name of the helper's container.
        helper: String,
    },
    /// The rollback begins.
    RollingBack { subject: Subject, cause: Cause },
    /// An update ended.
    UpdateEnded(Box<Record>),
    /// A round ended.
    RoundEnded {
        /// How many containers were checked.
        containers: usize,
        /// The reports that differ from the round before.
        news: Vec<Report>,
        took: Duration,
    },
    /// Something that a person should know, but that stops nothing.
    Warning {
        /// Absent if the warning is about no container and no service.
        subject: Option<Subject>,
        detail: String,
    },
}

impl Event {
    /// What the event is about; `None` if it is about nothing, or about several.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match self {
            Self::UpdateBegun { subject, .. }
            | Self::Continued { subject, .. }
            | Self::StepBegun { subject, .. }
            | Self::StepDone { subject, .. }
            | Self::Pulling { subject, .. }
            | Self::FetchedAhead { subject, .. }
            | Self::SelfUpdating { subject, .. }
            | Self::RollingBack { subject, .. } => Some(subject),
            Self::UpdateEnded(record) => Some(&record.subject),
            Self::Warning { subject, .. } => subject.as_ref(),
            Self::Pulled { .. } | Self::RoundEnded { .. } => None,
        }
    }
}

/// The kind of program through which a question came to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// A person, by a command of this program.
    CommandLine,
    /// A registry or a CI system, by a webhook.
    Webhook,
    /// The fleet, by a message of the broker.
    Mqtt,
    /// A client with a certificate, by the push API.
    Push,
}

/// Why the agent acts. Every event carries the trigger that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The schedule, or a window that opened.
    Schedule,
    /// An update that was left open.
    Recovery,
    /// A question, with its number.
    Asked { id: u64, by: Asker },
}

/// An event with its number, its time and its trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedEvent {
    /// Counts from 1 since the process started.
    pub number: u64,
    /// When it happened, by the machine's clock.
    pub at: DateTime<Utc>,
    pub trigger: Trigger,
    pub event: Event,
}

/// A receiver of the events of one update or round, while they happen. It must not block.
pub trait Listener: Send + Sync {
    /// Receives one event.
    fn receive(&self, event: &Event);
}

/// A receiver of all events of an agent. It must not block.
pub trait EventSink: Send + Sync {
    /// Receives one event.
    fn receive(&self, event: &NumberedEvent);
}
