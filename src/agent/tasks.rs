//! What goes on beside the loop, and how it comes back: each task ends with one message.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::executor::{Executor, TaskOutcome};
use super::facts::LookFacts;
use super::round::RoundId;
use super::updates::{UpdateId, UpdateResult};
use crate::core::decide::Decision;
use crate::core::decide::observation::Observation;
use crate::observe::Cache;
use crate::ports::Ports;

/// What comes back to the loop.
pub(super) enum TaskResult<P> {
    /// The hooks before a round have run.
    HooksBefore(RoundId, Box<LookFacts>),
    /// What the Engine tells of the containers of a round; no registry was asked.
    ObservedLocally(LookResult),
    /// Everything that was asked about these containers is answered, and decided.
    Decided(LookResult, Vec<Decision>),
    /// The hooks after a round have run.
    HooksAfter(RoundId),
    /// The executor is free again.
    ExecutorDone(Box<Executor<P>>, TaskOutcome),
    /// An update in flight has ended.
    UpdateEnded(UpdateId, UpdateResult),
}

/// A look that comes back.
pub(super) struct LookResult {
    pub(super) round: RoundId,
    /// What it started from.
    pub(super) facts: Arc<LookFacts>,
    pub(super) observations: Vec<Observation>,
    /// What it knew, and what it has learnt.
    pub(super) cache: Arc<Cache>,
}

/// The tasks beside the loop. They end with it.
pub(super) struct Tasks<P> {
    /// Those that only ask: nothing is lost where they are dropped.
    looks: JoinSet<TaskResult<P>>,
    /// The updates in flight, and the task of the executor.
    acts: JoinSet<TaskResult<P>>,
}

impl<P: Ports> Tasks<P> {
    pub(super) fn new() -> Self {
        Self { looks: JoinSet::new(), acts: JoinSet::new() }
    }

    pub(super) fn look(&mut self, look: impl Future<Output = TaskResult<P>> + Send + 'static) {
        self.looks.spawn(look);
    }

    pub(super) fn act(&mut self, act: impl Future<Output = TaskResult<P>> + Send + 'static) {
        self.acts.spawn(act);
    }

    /// Nobody wants to know any more.
    pub(super) fn drop_looks(&mut self) {
        self.looks = JoinSet::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.looks.is_empty() && self.acts.is_empty()
    }

    /// The next message; `None` where nothing goes on.
    pub(super) async fn next(&mut self) -> Option<TaskResult<P>> {
        let ended = tokio::select! {
            biased;
            Some(ended) = self.acts.join_next() => ended,
            Some(ended) = self.looks.join_next() => ended,
            else => return None,
        };
        Some(ended.unwrap_or_else(goes_on))
    }
}

/// A panic beside the loop is one in the loop.
fn goes_on<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => resume_unwind(Box::new(error.to_string())),
    }
}
