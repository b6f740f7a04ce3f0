//! Everything that can be said about an update, once. Log, metrics, history and the terminal hear
//! the same events.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::decide::report::Report;
use crate::core::docker::reference::Digest;
use crate::core::update::Step;
use crate::core::update::history::{Cause, Record};

/// How far a pull has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullProgress {
    /// Bytes fetched so far.
    pub current: u64,
    /// Bytes of all layers that are known to be fetched.
    pub total: u64,
    /// Layers that are complete.
    pub layers_done: usize,
    /// Layers that are known.
    pub layers: usize,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An update begins.
    UpdateBegun {
        /// The container's name.
        container: String,
        /// The image as the user wrote it.
        image: String,
        /// What runs.
        from: Option<Digest>,
        /// What shall run.
        to: Digest,
        /// The containers that are recreated with it, because they hang on it.
        #[serde(default)]
        dependents: Vec<String>,
    },
    /// An update that was left open is taken up again.
    TakenUp {
        /// The container's name.
        container: String,
        /// What is done with it.
        intent: String,
    },
    /// A step begins.
    StepBegun {
        /// The container's name.
        container: String,
        /// The step.
        step: Step,
    },
    /// A step is complete.
    StepDone {
        /// The container's name.
        container: String,
        /// The step.
        step: Step,
        /// How long it took.
        took: Duration,
    },
    /// Layers arrive.
    Pulling {
        /// The container's name.
        container: String,
        /// The registry they come from.
        registry: String,
        /// How far it is.
        progress: PullProgress,
    },
    /// A pull is complete.
    Pulled {
        /// The registry it came from.
        registry: String,
        /// Bytes that were fetched.
        bytes: u64,
    },
    /// An image is on this machine, and waits for the window in which it may replace.
    FetchedAhead {
        /// The container's name.
        container: String,
        /// What shall run then.
        to: Digest,
    },
    /// A helper updates the agent's own container from now on.
    SelfUpdating {
        /// The container's name.
        container: String,
        /// The helper's.
        helper: String,
    },
    /// The way leads back from here.
    GoingBack {
        /// The container's name.
        container: String,
        /// Why.
        cause: Cause,
    },
    /// An update ended.
    UpdateEnded(Box<Record>),
    /// A round ended.
    RoundEnded {
        /// How many containers were looked at.
        containers: usize,
        /// What is otherwise than it was in the round before.
        news: Vec<Report>,
        /// How long it took.
        took: Duration,
    },
    /// Something that a person should know, but that stops nothing.
    Warning {
        /// The container's name; empty where it concerns none.
        container: String,
        /// What it is.
        detail: String,
    },
}

/// Whoever wants to hear of events. Must not block.
pub trait Listener: Send + Sync {
    /// Hears of one event.
    fn hear(&self, event: &Event);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullListener;

impl Listener for NullListener {
    fn hear(&self, _event: &Event) {}
}
