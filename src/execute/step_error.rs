//! Why a step failed, and what follows.

use crate::core::update::history::Cause;
use crate::engine::EngineError;
use crate::journal::JournalError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An error of the Engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The Engine has been away for longer than an update waits.
    #[error("{0}; the update stays open until it is back")]
    EngineStaysAway(EngineError),
    /// An error of the state directory.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A cause that is known exactly.
    #[error("{}", .0.detail)]
    Cause(Cause),
    /// The Engine or the machine changed between the start and the verdict.
    #[error("{0}")]
    Spoilt(String),
    /// A person ended the new container of a member.
    #[error("{detail}")]
    Meddled {
        /// The number of the member.
        number: usize,
        /// What was seen.
        detail: String,
    },
    /// The agent was asked to stop.
    #[error("the agent was asked to stop")]
    Asked,
}

impl StepError {
    /// Whether the Engine was away, so that the step could do no more.
    #[must_use]
    pub const fn is_engine_unreachable(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_engine_unreachable(),
            Self::EngineStaysAway(_) => true,
            _ => false,
        }
    }

    pub(super) fn surroundings(detail: impl Into<String>) -> Self {
        Self::Cause(Cause::surroundings(detail))
    }

    /// Why the update is rolled back; the error itself if it is not.
    pub(super) fn into_cause(self) -> Result<Cause, Self> {
        match self {
            Self::Cause(cause) => Ok(cause),
            Self::Meddled { detail, .. } => Ok(Cause::person(detail)),
            Self::Engine(error) if !error.is_engine_unreachable() => {
                Ok(Cause::surroundings(error.to_string()))
            }
            Self::Journal(error) => Ok(Cause::surroundings(error.to_string())),
            other => Err(other),
        }
    }
}
