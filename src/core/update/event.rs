//! All events of an update. Log, metrics, history and the terminal receive the same events.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::report::Report;
use crate::core::docker::reference::Digest;
use crate::core::update::Step;
use crate::core::update::history::{Cause, Record};

/// The progress of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An update begins.
    UpdateBegun {
        container: String,
        /// The image as the user wrote it.
        image: String,
        /// The digest that runs.
        from: Option<Digest>,
        /// The digest that shall run.
        to: Digest,
        /// The dependents that are recreated with it.
        #[serde(default)]
        dependents: Vec<String>,
    },
    /// An unfinished update is continued.
    #[serde(rename = "taken_up")]
    Continued {
        container: String,
        /// What happens with it now.
        intent: String,
    },
    /// A step begins.
    StepBegun { container: String, step: Step },
    /// A step is complete.
    StepDone { container: String, step: Step, took: Duration },
    /// Layers arrive.
    Pulling {
        container: String,
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
    /// An image is on this machine, and waits for the window of its container.
    FetchedAhead {
        container: String,
        /// The digest that shall run then.
        to: Digest,
    },
    /// The self-update helper now updates the agent's own container.
    SelfUpdating {
        container: String,
        /// The name of the helper's container.
        helper: String,
    },
    /// The rollback begins.
    #[serde(rename = "going_back")]
    RollingBack { container: String, cause: Cause },
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
        /// The container's name; empty if no container is concerned.
        container: String,
        detail: String,
    },
}

impl Event {
    /// The name of the container that the event is about; `None` if it is about none, or several.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::UpdateBegun { container, .. }
            | Self::Continued { container, .. }
            | Self::StepBegun { container, .. }
            | Self::StepDone { container, .. }
            | Self::Pulling { container, .. }
            | Self::FetchedAhead { container, .. }
            | Self::SelfUpdating { container, .. }
            | Self::RollingBack { container, .. } => Some(container),
            Self::UpdateEnded(record) => Some(&record.container),
            Self::Warning { container, .. } => {
                Some(container).filter(|name| !name.is_empty()).map(String::as_str)
            }
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
}

/// Why the agent acts. Every event carries the trigger that led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule, or a window that opened.
    Schedule,
    /// An update that was left open.
    Recovery,
    /// A question, with its number.
    Asked { id: u64, by: Asker },
}

/// An event with its number, its time and its trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullSink;

impl EventSink for NullSink {
    fn receive(&self, _event: &NumberedEvent) {}
}
