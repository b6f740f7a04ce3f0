//! Does what must happen one at a time: the lock of the Engine, the last look before an update,
//! recovery, and the removal of images that were pulled ahead in vain.
//!
//! The loop gives its executor away for one task, which goes on beside the loop, and gets it back
//! with the outcome. A task has it alone, without a mutex. Updates in flight do not need it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::RoundError;
use super::asks::kept_image;
use super::context::Context;
use super::engine_lock::EngineLock;
use super::facts::{LookFacts, Names};
use super::question::AskError;
use super::recovery::Swept;
use super::round::DueContainer;
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
pub(super) enum TaskOutcome {
    /// The last look at a container was taken.
    Prepared(Box<Prepared>),
    /// A rollback by hand may begin, or not.
    RollbackPrepared(Box<RollbackPrepared>),
    /// What had been left open is ended, or is not to be touched.
    Recovered {
        swept: Result<Swept, RoundError>,
        /// Whether the self-update helper has the agent's own container from now on.
        is_self_updating: bool,
    },
    /// Superseded images are dropped; whether some are left, if that is known.
    Dropped(Option<bool>),
}

/// A container after the last look at it.
pub(super) struct Prepared {
    /// The container, with the decision that holds now.
    pub(super) due: DueContainer,
    /// Whether the self-update helper has it from now on.
    pub(super) is_self_updating: bool,
}

/// A rollback by hand that may begin, or not.
pub(super) struct RollbackPrepared {
    pub(super) container: String,
    /// What became of updates that had been left open.
    pub(super) recovered: Result<Swept, RoundError>,
    /// The plan; absent if the self-update helper carries it out.
    pub(super) plan: Result<Option<RollbackPlan>, AskError>,
}

/// The plan of a rollback by hand, and the documents that it starts from.
pub(super) struct RollbackPlan {
    pub(super) plan: Box<Plan>,
    pub(super) readiness: Box<Readiness>,
}

/// Does what must happen one at a time, and keeps what it has learnt.
pub(super) struct Executor<P> {
    pub(super) context: Context<P>,
    /// Which container depends on which, as earlier looks have found.
    pub(super) ties: TieIndex,
    /// Containers that an earlier update left without a journal, while they are watched.
    pub(super) sightings: OrphanWatch,
    /// Whether this agent is the one that works on the Engine.
    pub(super) engine_lock: EngineLock,
    /// This agent, as the lock names it, once that is known.
    pub(super) own_holder: Option<Holder>,
}

impl<P: Ports> Executor<P> {
    pub(super) fn new(context: Context<P>) -> Self {
        Self {
            context,
            ties: TieIndex::default(),
            sightings: OrphanWatch::default(),
            engine_lock: EngineLock::default(),
            own_holder: None,
        }
    }

    /// Takes the last look at a container before its decision is carried out. `is_old`: something
    /// was done since it was looked at, so that is decided anew.
    pub(super) async fn prepare(
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

    /// Another update may have changed what an update of this container would meet.
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

    /// The agent's own container goes to a self-update helper.
    async fn start_self_update(&self, due: &mut DueContainer) -> bool {
        let Decision::HandOver(plan) = &due.decision else { return false };
        let Some(readiness) = due.observation.readiness.take() else { return false };
        let task = SelfUpdateTask::Update { force: due.facts.circumstances.force };
        self.context.hand_over(plan, &readiness.original, task).await
    }

    /// Finishes or undoes what was left open, looks at a container, and plans its rollback to the
    /// image before.
    pub(super) async fn prepare_rollback(
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
            .ok_or_else(|| AskError::nothing_before(container, "the Engine does not tell"))?;
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

    /// Whether one more self-update helper ends what others could not, because a person insists.
    pub(super) async fn recover_itself(&self) -> bool {
        self.context.recover_itself().await
    }

    /// Drops images that were pulled ahead and are not wanted any more. Says whether some are left.
    pub(super) async fn drop_superseded(
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
