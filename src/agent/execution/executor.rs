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
use crate::agent::handle::answers::kept_image;
use crate::agent::handle::question::AskError;
use crate::agent::round::DueContainer;
use crate::agent::round::facts::{LookFacts, Names};
use crate::core::decide::engine_lock::Holder;
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::pending::PendingUpdates;
use crate::core::decide::{Circumstances, Decision, decide, origin, roll_back};
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
        container: &str,
        cache: Arc<Cache>,
        circumstances: Circumstances,
        (run, in_flight): (RecoveryRun, &BTreeSet<String>),
    ) -> RollbackPrepared {
        let recovered = self.recover_open(run, in_flight).await;
        let plan = match &recovered {
            Ok(swept) => self.plan_rollback(container, cache, circumstances, swept).await,
            // The error of the recovery is the answer.
            Err(_) => Ok(None),
        };
        RollbackPrepared { container: container.to_owned(), recovered, plan }
    }

    async fn plan_rollback(
        &mut self,
        container: &str,
        mut cache: Arc<Cache>,
        circumstances: Circumstances,
        swept: &Swept,
    ) -> Result<Option<RollbackPlan>, AskError> {
        let state = self.context.ports.state();
        let (list, memory) = (self.context.list().await?, state.memory()?);
        let names = Names::only(BTreeSet::from([container.to_owned()]));
        let open = swept.open();
        let facts = LookFacts { names, circumstances, list, memory, open, acts: 0 };
        let scope = facts.scope(&self.context.settings.defaults);
        let mut seen = observe::observe_local(&*self.context.ports, &mut cache, &scope).await;
        let mut observation =
            seen.pop().ok_or_else(|| RoundError::UnknownNames(vec![container.to_owned()]))?;
        if origin::is_open(&observation) {
            let ports = &*self.context.ports;
            observe::ask_origin(ports, std::iter::once(&mut observation)).await;
        }
        let kept = kept_image(&*self.context.ports, &observation).await?;
        let defaults = &self.context.settings.defaults;
        let surroundings = PreflightContext { defaults, open: &facts.open };
        let (ports, known) = (&*self.context.ports, (&mut self.ties, &*cache));
        let readiness = observe::readiness(ports, known, &surroundings, &observation).await;
        let readiness = readiness
            .ok_or_else(|| AskError::nothing_before(container, "the Engine does not answer"))?;
        let plan = roll_back(&observation, &readiness, &kept, &facts.circumstances)
            .map_err(|no| AskError::of_no(container, &no))?;
        if !observation.is_self {
            let (plan, readiness) = (Box::new(plan), Box::new(readiness));
            return Ok(Some(RollbackPlan { plan, readiness }));
        }
        let task = SelfUpdateTask::RollBack;
        let hand_over = self.context.hand_over(&plan, &readiness.original, task);
        match Box::pin(hand_over).await {
            true => Ok(None),
            false => Err(AskError::LeftOpen(container.to_owned())),
        }
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
