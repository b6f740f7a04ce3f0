//! Does the work that must happen one at a time: the Engine's lock, the last look before an update,
//! recovery, and the removal of images that were pulled for updates that never came.
//!
//! The loop gives its executor to one task, and gets it back with the result. So a task has the
//! executor alone, without a mutex. Updates in flight do not need the executor.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine_lock::EngineLock;
use super::recovery::Swept;
use crate::agent::RoundError;
use crate::agent::context::Context;
use crate::agent::deployments::prepare::PushPrepared;
use crate::agent::handle::question::AskError;
use crate::agent::round::DueContainer;
use crate::agent::round::facts::LookFacts;
use crate::core::decide::engine_lock::Holder;
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::pending::PendingUpdates;
use crate::core::decide::{Circumstances, Decision, decide};
use crate::core::update::plan::Plan;
use crate::core::update::self_update::SelfUpdateTask;
use crate::execute;
use crate::host::Host;
use crate::observe::{self, Cache, PreflightContext, TieIndex};
use crate::ports::Ports;
use crate::recover::{OrphanWatch, RecoveryRun};

/// The outcome of a task of the executor.
pub(in crate::agent) enum TaskOutcome {
    /// The last look at a container has ended.
    Prepared(Box<Prepared>),
    /// A rollback by hand is planned, or not possible.
    RollbackPrepared(Box<RollbackPrepared>),
    /// A push is planned, or not possible.
    PushPrepared(Box<PushPrepared>),
    /// The recovery of open updates has ended.
    Recovered {
        swept: Result<Swept, RoundError>,
        /// Whether the self-update helper updates the agent's own container from now on.
        is_self_updating: bool,
    },
    /// Superseded images are dropped. Whether some are left, if that is known.
    Dropped(Option<bool>),
}

/// A container after the last look at it.
pub(in crate::agent) struct Prepared {
    /// The container, with the final decision.
    pub(in crate::agent) due: DueContainer,
    /// Whether the self-update helper updates it from now on.
    pub(in crate::agent) is_self_updating: bool,
}

/// A rollback by hand that is planned, or not possible.
pub(in crate::agent) struct RollbackPrepared {
    pub(in crate::agent) container: String,
    /// The result of the recovery of open updates.
    pub(in crate::agent) recovered: Result<Swept, RoundError>,
    /// The plan; absent if the self-update helper carries it out.
    pub(in crate::agent) plan: Result<Option<RollbackPlan>, AskError>,
}

/// The plan of a rollback by hand, and the documents that it is made from.
pub(in crate::agent) struct RollbackPlan {
    pub(in crate::agent) plan: Box<Plan>,
    pub(in crate::agent) readiness: Box<Readiness>,
}

/// The executor, with what it has learnt.
pub(in crate::agent) struct Executor<P> {
    pub(in crate::agent) context: Context<P>,
    /// Which container depends on which, from earlier looks.
    pub(in crate::agent) ties: TieIndex,
    /// Orphans of an earlier update while the agent watches them.
    pub(in crate::agent) sightings: OrphanWatch,
    /// Whether this agent is the one that works on the Engine.
    pub(in crate::agent) engine_lock: EngineLock,
    /// This agent's identity as the lock names it; absent until it is known.
    pub(in crate::agent) own_holder: Option<Holder>,
}

impl<P: Ports> Executor<P> {
    pub(in crate::agent) fn new(context: Context<P>) -> Self {
        Self {
            context,
            ties: TieIndex::default(),
            sightings: OrphanWatch::default(),
            engine_lock: EngineLock::default(),
            own_holder: None,
        }
    }

    /// Takes the last look at a container before its decision is carried out. `is_old`: an update
    /// has ended since the container was looked at, so the decision is made again.
    pub(in crate::agent) async fn prepare(
        &mut self,
        cache: &Cache,
        mut due: DueContainer,
        is_old: bool,
    ) -> Prepared {
        if is_old {
            let mut circumstances = due.facts.circumstances.clone();
            circumstances.now = self.context.ports.host().now();
            self.look_again((&due.facts, cache), &mut due.observation).await;
            due.decision = decide(&due.observation, &circumstances);
        }
        due.decision = self.pass_machine_gate(due.decision).await;
        let is_self_updating = self.start_self_update(&mut due).await;
        Prepared { due, is_self_updating }
    }

    /// Looks at a container again, because another update may have changed what its update depends
    /// on.
    async fn look_again(
        &mut self,
        (facts, cache): (&LookFacts, &Cache),
        observation: &mut Observation,
    ) {
        let defaults = &self.context.settings.defaults;
        let surroundings = PreflightContext { defaults, open: &facts.open };
        let (ports, known) = (&*self.context.ports, (&mut self.ties, cache));
        observe::look_again(ports, known, &surroundings, observation).await;
    }

    /// Hands the agent's own container over to the self-update helper.
    async fn start_self_update(&self, due: &mut DueContainer) -> bool {
        let Decision::HandOver(plan) = &due.decision else { return false };
        let Some(readiness) = due.observation.readiness.take() else { return false };
        let task = SelfUpdateTask::Update { force: due.facts.circumstances.force };
        self.context.hand_over(plan, &readiness.original, task).await
    }

    /// Finishes or undoes open updates, looks at a container, and plans its rollback to the
    /// previous image.
    pub(in crate::agent) async fn prepare_rollback(
        &mut self,
        (container, by): (&str, Option<String>),
        cache: Arc<Cache>,
        circumstances: Circumstances,
        (run, in_flight): (RecoveryRun, &BTreeSet<String>),
    ) -> RollbackPrepared {
        let recovered = self.recover_open(run, in_flight).await;
        let plan = match &recovered {
            Ok(swept) => {
                let plan = self.plan_rollback(container, cache, circumstances, swept);
                Box::pin(plan).await
            }
            // The error of the recovery is the answer.
            Err(_) => Ok(None),
        };
        let plan = plan.map(|plan| {
            plan.map(|mut rollback| {
                rollback.plan.by = by;
                rollback
            })
        });
        RollbackPrepared { container: container.to_owned(), recovered, plan }
    }

    /// A person ran `recover`: creates one more self-update helper for an update that earlier
    /// helpers could not end. Returns whether there is a helper.
    pub(in crate::agent) async fn recover_itself(&self) -> bool {
        self.context.recover_itself().await
    }

    /// Drops images that were pulled before their window and are not needed any more. Returns
    /// whether some are left, if that is known.
    pub(in crate::agent) async fn drop_superseded(
        &self,
        pending: &PendingUpdates,
        owners: &BTreeSet<String>,
    ) -> Option<bool> {
        let dropped = execute::drop_superseded(self.context.ports.engine(), pending, owners).await;
        if let Err(error) = &dropped {
            self.context.warn(format!("superseded images stay on disk: {error}"));
        }
        dropped.ok()
    }
}
