//! The steps of an update, in their order.

use serde::{Deserialize, Serialize};

/// One step of an update. Each has an undo. Doing or undoing a step twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Tag the old image for a rollback, then pull the decided digest and move the local tag.
    Pull,
    /// Flush the pulled image to disk: a power cut leaves an unflushed image with empty files.
    Sync,
    /// Create the new container beside the old one, not started, restart policy `no`.
    Create,
    /// Run a fresh copy of each job to its end. Only plans with jobs have this step.
    Run,
    /// With start-first: start the new container while the old one serves.
    Launch,
    /// With start-first: watch the new container until it has proved itself, while the old one
    /// serves.
    Prove,
    /// With start-first: give the names of the service to the new container as well, and let both
    /// serve for the drain time.
    Join,
    /// Stop the old container, park it under another name, give its name to the new one.
    Switch,
    /// With stop-first: start the new container.
    Start,
    /// Watch the new container until it has proved itself, without the old one.
    Verify,
    /// Remove the restart policy of the old container and give the user's policy to the new one.
    Commit,
    /// Remove the old container and images that are no longer needed.
    Clean,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 12] = [
        Self::Pull,
        Self::Sync,
        Self::Create,
        Self::Run,
        Self::Launch,
        Self::Prove,
        Self::Join,
        Self::Switch,
        Self::Start,
        Self::Verify,
        Self::Commit,
        Self::Clean,
    ];

    /// The word in the journal, the log and on the terminal.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Sync => "sync",
            Self::Create => "create",
            Self::Run => "run",
            Self::Launch => "launch",
            Self::Prove => "prove",
            Self::Join => "join",
            Self::Switch => "switch",
            Self::Start => "start",
            Self::Verify => "verify",
            Self::Commit => "commit",
            Self::Clean => "clean",
        }
    }

    /// Whether an agent that is asked to stop leaves this step to the next agent. It does not leave
    /// the start, because the old container is down. It does not leave the commit and what follows,
    /// because the new container has proved itself.
    #[must_use]
    pub fn is_left_to_next_agent(self) -> bool {
        self < Self::Commit && self != Self::Start
    }

    /// Whether the old container is already stopped in this step, so that every millisecond counts:
    /// journal entries of such steps are not flushed one by one. Recovery does not need them: from
    /// the start of the switch on it expects that the old container may be down, and asks the
    /// Engine.
    #[must_use]
    pub const fn is_in_service_gap(self) -> bool {
        matches!(self, Self::Start)
    }
}

/// What an entry says about its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The step begins. This mark is on disk before the step acts.
    Started,
    /// The step is complete.
    Done,
    /// The step failed; the rollback begins.
    Failed,
    /// The undo of the step begins.
    UndoStarted,
    /// The undo of the step is complete.
    UndoDone,
}
