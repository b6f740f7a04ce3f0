//! The journal of the update of a service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::update::history::Cause;
use crate::core::update::{Mark, Step};

/// One step of the update of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStep {
    /// A job makes every node pull the new image.
    Pull,
    /// The specification gets the new image; Swarm replaces the tasks.
    Update,
    /// Every place of the service must prove itself.
    Watch,
    /// The specification gets the user's own settings for updates again.
    Settle,
}

impl ServiceStep {
    /// The step of a container's update that is the same for people.
    #[must_use]
    pub const fn as_step(self) -> Step {
        match self {
            Self::Pull => Step::Pull,
            Self::Update => Step::Switch,
            Self::Watch => Step::Verify,
            Self::Settle => Step::Commit,
        }
    }

    /// The word in the journal and the log.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Update => "update",
            Self::Watch => "watch",
            Self::Settle => "settle",
        }
    }
}

/// One line of the journal, behind its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Position in the journal, from 1. The header is 0.
    pub seq: u32,
    /// Time of writing, for people.
    pub at: DateTime<Utc>,
    pub step: ServiceStep,
    pub mark: Mark,
    /// Why the update is rolled back, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The longest time that a place was empty, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_milliseconds: Option<u64>,
}

/// A replayed journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceProgress {
    /// The furthest step that has begun.
    pub begun: Option<ServiceStep>,
    /// The furthest step that is complete.
    pub done: Option<ServiceStep>,
    /// Why it is rolled back, if it is.
    pub failed: Option<Cause>,
    /// Whether the rollback is complete.
    pub is_back: bool,
    pub gap_milliseconds: Option<u64>,
    /// The number of entries.
    pub entries: u32,
}

impl ServiceProgress {
    /// Applies one more entry. A line that cannot be read is left out by the caller: what was done
    /// is read from the Swarm, and a lost line only makes a later agent look again.
    pub fn take(&mut self, entry: &ServiceEntry) {
        self.entries = self.entries.max(entry.seq);
        match entry.mark {
            Mark::Started => self.begun = self.begun.max(Some(entry.step)),
            Mark::Done => self.done = self.done.max(Some(entry.step)),
            Mark::Failed => self.failed = entry.cause.clone().or(self.failed.take()),
            Mark::UndoStarted => {}
            Mark::UndoDone => self.is_back = true,
        }
        self.gap_milliseconds = entry.gap_milliseconds.or(self.gap_milliseconds);
    }

    /// The next entry.
    #[must_use]
    pub fn next(&self, at: DateTime<Utc>, step: ServiceStep, mark: Mark) -> ServiceEntry {
        ServiceEntry { seq: self.entries + 1, at, step, mark, cause: None, gap_milliseconds: None }
    }
}
