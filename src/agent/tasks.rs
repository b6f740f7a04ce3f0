//! The tasks beside the loop. Each task ends with one message to the loop.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::{JoinError, JoinSet};

use super::deployments::DeploymentResult;
use super::execution::executor::{Executor, TaskOutcome};
use super::execution::in_flight::{UpdateId, UpdateResult};
use super::round::RoundId;
use super::round::facts::LookFacts;
use super::round::groups::GroupSurvey;
use super::services::{ServiceResult, ServicesLook, WaitingForService};
use crate::core::decide::Decision;
use crate::core::decide::observation::Observation;
use crate::observe::Cache;
use crate::ports::Ports;

/// The message that ends a task.
pub(super) enum TaskResult<P> {
    /// The hooks before a round have run.
    HooksBefore(RoundId, Box<LookFacts>),
    /// The Engine's facts about the containers of a round; no registry was asked yet.
    ObservedLocally(LookResult),
    /// All questions about these containers are answered, and the decisions are made.
    Decided(LookResult, Vec<Decision>),
    /// What the update of a group needs beyond the looks at its members is known.
    GroupSurveyed(RoundId, Box<GroupSurvey>),
    /// The digests of these members of a group have stood still, as far as the round knows.
    GroupSettled(RoundId, BTreeSet<String>),
    /// The hooks after a round have run.
    HooksAfter(RoundId),
    /// The executor is free again.
    ExecutorDone(Box<Executor<P>>, TaskOutcome),
    /// An update in flight has ended.
    UpdateEnded(UpdateId, UpdateResult),
    /// The services of a round were looked at, and the decisions are made.
    ServicesObserved(ServicesLook),
    /// A task for a deployment has ended.
    Deployment(DeploymentResult),
    /// The update of the service with this name has ended.
    ServiceEnded(String, WaitingForService, ServiceResult),
}

/// The result of a look.
pub(super) struct LookResult {
    pub(super) round: RoundId,
    /// The input of the look.
    pub(super) facts: Arc<LookFacts>,
    pub(super) observations: Vec<Observation>,
    /// What was known before, and what the look has learnt.
    pub(super) cache: Arc<Cache>,
}

/// The tasks beside the loop. They end together with the loop. The runtime sees all of them as one
/// type, so that its code for a task is in the program once.
pub(super) struct Tasks<P> {
    /// Tasks that only read. They can be dropped without a loss.
    looks: JoinSet<TaskResult<P>>,
    /// The updates in flight, and the task of the executor.
    acts: JoinSet<TaskResult<P>>,
}

impl<P: Ports> Tasks<P> {
    pub(super) fn new() -> Self {
        Self { looks: JoinSet::new(), acts: JoinSet::new() }
    }

    pub(super) fn look(&mut self, look: impl Future<Output = TaskResult<P>> + Send + 'static) {
        self.looks.spawn(look.boxed());
    }

    pub(super) fn act(&mut self, act: impl Future<Output = TaskResult<P>> + Send + 'static) {
        self.acts.spawn(act.boxed());
    }

    /// Drops all looks: their results are not needed any more.
    pub(super) fn drop_looks(&mut self) {
        self.looks = JoinSet::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.looks.is_empty() && self.acts.is_empty()
    }

    /// The next message; `None` if no task runs.
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

/// A panic in a task becomes a panic in the loop.
fn goes_on<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => resume_unwind(Box::new(error.to_string())),
    }
}
