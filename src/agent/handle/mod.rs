//! The interface of a running agent, for the control socket and webhooks.

// The questions, and the type of each answer.
pub(in crate::agent) mod question;
// The same for deployments, whose images are pushed.
pub(in crate::agent) mod deployments;
// How the loop answers them.
pub(in crate::agent) mod answers;
// A check that is answered from the snapshot.
pub(in crate::agent) mod cached_check;
// Events with number, time and trigger, for subscribers.
pub(in crate::agent) mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

use crate::agent::Heartbeat;
use crate::core::decide::snapshot::{LOOP_HAS_ENDED, Snapshot};
use crate::core::update::event::{Asker, Trigger};
use deployments::DeploymentAsk;
use events::{EventFilter, Events, Subscription};
use question::{AskError, AskKind, Question};

/// How many questions may wait for the loop: a person types one at a time.
const ASKS_WAITING_MAX: usize = 16;

/// A question on its way to the loop.
#[derive(Debug)]
pub struct Ask {
    pub(in crate::agent) trigger: Trigger,
    pub(in crate::agent) kind: AskKind,
}

impl Ask {
    /// The question, if it is about a deployment: for tests of servers without an agent.
    #[doc(hidden)]
    #[must_use]
    pub fn about_deployment(self) -> Option<DeploymentAsk> {
        match self.kind {
            AskKind::Deployment(ask) => Some(ask),
            _ => None,
        }
    }
}

/// A question that was sent to the loop.
#[derive(Debug)]
pub struct Pending<T> {
    /// The number of the question; its events carry it.
    pub id: u64,
    answer: oneshot::Receiver<Result<T, AskError>>,
}

impl<T> Pending<T> {
    /// Waits for the answer. If this is dropped, the agent still does what was asked.
    ///
    /// # Errors
    /// The agent's reason, or the agent ended first.
    pub async fn answer(&mut self) -> Result<T, AskError> {
        (&mut self.answer).await.unwrap_or(Err(AskError::Ended))
    }
}

/// The interface of a running agent: questions with typed answers, events, and the snapshot. It
/// stays valid when the agent starts again with another configuration.
#[derive(Clone)]
pub struct AgentHandle {
    asks: mpsc::Sender<Ask>,
    last: Arc<AtomicU64>,
    events: Arc<Events>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    heart: Heartbeat,
}

impl AgentHandle {
    /// A handle, and the queue of its questions for [`Agent::run`](crate::agent::Agent::run).
    #[must_use]
    pub fn new(
        events: Arc<Events>,
        snapshot: watch::Receiver<Arc<Snapshot>>,
        heart: Heartbeat,
    ) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, queue) = mpsc::channel(ASKS_WAITING_MAX);
        (Self { asks, last: Arc::default(), events, snapshot, heart }, queue)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The agent's reason, or the agent ended first.
    pub async fn ask<Q: Question>(&self, by: Asker, question: Q) -> Result<Q::Answer, AskError> {
        let (ask, mut pending) = self.prepare(by, question);
        self.asks.send(ask).await.map_err(|_| AskError::NotTaken)?;
        pending.answer().await
    }

    /// Asks, and returns the number of the question at once, so that the caller can follow its
    /// events.
    ///
    /// # Errors
    /// Too many questions wait already, or the agent is ending.
    pub fn begin<Q: Question>(
        &self,
        by: Asker,
        question: Q,
    ) -> Result<Pending<Q::Answer>, AskError> {
        let (ask, pending) = self.prepare(by, question);
        self.asks.try_send(ask).map_err(|_| AskError::NotTaken)?;
        Ok(pending)
    }

    fn prepare<Q: Question>(&self, by: Asker, question: Q) -> (Ask, Pending<Q::Answer>) {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, receiver) = oneshot::channel();
        let ask = Ask { trigger: Trigger::Asked { id, by }, kind: question.into_ask(answer) };
        (ask, Pending { id, answer: receiver })
    }

    /// Subscribes to events; with `after`, first to the kept events with a higher number.
    #[must_use]
    pub fn subscribe(&self, filter: EventFilter, after: Option<u64>) -> Subscription {
        self.events.subscribe(filter, after)
    }

    /// The state of the agent.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The state of the agent, for those who wait for its next change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Why the agent is unhealthy; `None` if it is healthy.
    #[must_use]
    pub fn unhealthy_reason(&self) -> Option<String> {
        // The loop has the sender of the snapshot: if the sender is gone, the loop has ended.
        match self.snapshot.has_changed() {
            Err(_) => Some(LOOP_HAS_ENDED.to_owned()),
            Ok(_) => self.snapshot().unhealthy_reason(self.heart.overdue()),
        }
    }
}
