//! The questions to the agent. Each question has its own type of answer.

use std::time::Duration;

use tokio::sync::oneshot;

use super::deployments::DeploymentAsk;
use crate::agent::{ROUNDS_MAX, RoundEnd, RoundError, RoundRequest};
use crate::core::decide::No;
use crate::core::decide::reason::Reason;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::docker::reference::Reference;
use crate::core::docker::webhook::Push;
use crate::core::fleet::announcements::NoLook;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::state::IgnoredMessage;
use crate::core::update::history::Record;
use crate::engine::EngineError;
use crate::journal::JournalError;

/// The sender of an answer. The receiver may be gone by then; the agent still does what was asked.
pub(in crate::agent) type Answer<T> = oneshot::Sender<Result<T, AskError>>;

/// A question to the agent.
pub trait Question: Send + 'static {
    /// The type of the answer.
    type Answer: Send + 'static;

    /// The question as a message to the loop.
    #[doc(hidden)]
    fn into_ask(self, answer: oneshot::Sender<Result<Self::Answer, AskError>>) -> AskKind;
}

/// Checks the containers that follow these pushed tags. The answer is their number: their
/// registries are asked now, or as soon as the containers are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckPushed(pub Vec<Push>);

/// News of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetNews {
    /// The connection was made or lost.
    Connected(bool),
    /// A message. Topic and payload are text from outside.
    Message { topic: String, payload: Vec<u8>, is_retained: bool },
}

/// What is to be done because of news of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetStep {
    Nothing,
    /// A look at this reference, after this time.
    Look(Reference, Duration),
    /// An announcement that needs no look.
    NoLook(NoLook),
    Command(FleetCommand),
    /// The message is ignored.
    Ignored(IgnoredMessage),
}

/// Rolls a container back to the previous image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollBack {
    pub container: String,
}

/// How a rollback by hand ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RollbackEnd {
    /// It ended, successful or not.
    Ended(Box<Record>),
    /// The self-update helper carries it out, because it is the agent's own container.
    SelfUpdating { container: String },
}

/// Forgets the refused digests of a container. The answer is their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    pub container: String,
}

/// Finishes or undoes every open update, also those that failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recover;

/// The result of the recovery of open updates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecoverEnd {
    /// The updates that ended now.
    pub records: Vec<Record>,
    /// The containers whose update could still not be finished or undone.
    pub open: Vec<String>,
}

/// A question with the sender of its answer, as a message to the loop.
#[derive(Debug)]
pub enum AskKind {
    Round(RoundRequest, Answer<RoundEnd>),
    CheckPushed(Vec<Push>, Answer<usize>),
    RollBack(String, Answer<RollbackEnd>),
    Allow(String, Answer<usize>),
    Recover(Answer<RecoverEnd>),
    FleetNews(FleetNews, Answer<FleetStep>),
    Deployment(DeploymentAsk),
}

impl Question for RoundRequest {
    type Answer = RoundEnd;

    fn into_ask(self, answer: Answer<RoundEnd>) -> AskKind {
        AskKind::Round(self, answer)
    }
}

impl Question for CheckPushed {
    type Answer = usize;

    fn into_ask(self, answer: Answer<usize>) -> AskKind {
        AskKind::CheckPushed(self.0, answer)
    }
}

impl Question for FleetNews {
    type Answer = FleetStep;

    fn into_ask(self, answer: Answer<FleetStep>) -> AskKind {
        AskKind::FleetNews(self, answer)
    }
}

impl Question for RollBack {
    type Answer = RollbackEnd;

    fn into_ask(self, answer: Answer<RollbackEnd>) -> AskKind {
        AskKind::RollBack(self.container, answer)
    }
}

impl Question for Allow {
    type Answer = usize;

    fn into_ask(self, answer: Answer<usize>) -> AskKind {
        AskKind::Allow(self.container, answer)
    }
}

impl Question for Recover {
    type Answer = RecoverEnd;

    fn into_ask(self, answer: Answer<RecoverEnd>) -> AskKind {
        AskKind::Recover(answer)
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The round could not run at all.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// A "no" forbids the rollback.
    #[error("{container} cannot be rolled back: {reason}{detail}; {advice}")]
    No {
        container: String,
        reason: Reason,
        /// The details in parentheses, or nothing.
        detail: String,
        advice: String,
    },
    /// There is no image to roll back to.
    #[error("{container} cannot be rolled back: {detail}")]
    NothingBefore { container: String, detail: String },
    /// The update is still open.
    #[error("the rollback of {0} was left open; `pilotfish recover` finishes or undoes it")]
    LeftOpen(String),
    /// A question about a deployment is refused.
    #[error(transparent)]
    Push(#[from] PushRefusal),
    /// The update is still open.
    #[error("the update of {0} was left open; `pilotfish recover` finishes or undoes it")]
    UpdateLeftOpen(String),
    /// More questions wait than a person would ask.
    #[error("{ROUNDS_MAX} rounds are in progress already; try again when some have ended")]
    TooMany,
    /// The queue of the loop is full, or the loop has ended.
    #[error("the agent is ending, or too many commands wait already")]
    NotTaken,
    /// The agent ended first.
    #[error("the agent ended before it could do this")]
    Ended,
}

impl From<EngineError> for AskError {
    fn from(error: EngineError) -> Self {
        Self::Round(error.into())
    }
}

impl From<JournalError> for AskError {
    fn from(error: JournalError) -> Self {
        Self::Round(error.into())
    }
}

impl AskError {
    pub(in crate::agent) fn nothing_before(container: &str, detail: &str) -> Self {
        Self::NothingBefore { container: container.to_owned(), detail: detail.to_owned() }
    }

    pub(in crate::agent) fn of_no(container: &str, no: &No) -> Self {
        let detail = if no.detail.is_empty() { String::new() } else { format!(" ({})", no.detail) };
        Self::No {
            container: container.to_owned(),
            reason: no.reason,
            detail,
            advice: no.reason.advice().replace("NAME", container),
        }
    }
}
