//! What acts on containers: one pair of hands, so one update at a time.
//!
//! The loop gives its hands away for a deed, which goes on beside it, and gets them back with what
//! came of it. What is at work has them alone, without a lock, and the loop goes on looking.

use std::collections::BTreeSet;

use super::command::CommandReply;
use super::context::Context;
use super::engine_lock::EngineLock;
use super::facts::LookFacts;
use super::hooks::Asked;
use super::{CommandError, RoundError};
use crate::core::decide::engine_lock::Holder;
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::pending::PendingUpdates;
use crate::core::decide::reason::Reason;
use crate::core::decide::{Circumstances, Decision, Fetch, No, decide, originals};
use crate::core::docker::inspect;
use crate::core::update::history::Record;
use crate::core::update::plan::{Header, Plan};
use crate::core::update::self_update::SelfUpdateTask;
use crate::engine::{Engine, EngineError};
use crate::execute::{self, Ended, StepError, Update};
use crate::host::Host;
use crate::observe::{self, Cache, PreflightContext, TieIndex};
use crate::ports::Ports;
use crate::recover::{OrphanWatch, Recovered, Recovery};

/// What came of a deed.
pub(super) enum TaskOutcome {
    /// A container was looked at once more, and what was decided is carried out.
    ContainerResult(Box<ContainerResult>),
    /// What had been left open is ended, or is not to be touched.
    Settled(Result<Recovered, RoundError>),
    /// A wish is fulfilled; these containers may stand otherwise now.
    CommandReply(Result<CommandReply, CommandError>, BTreeSet<String>),
    /// A person insisted on what had been left open.
    Recovered { recovered: Recovered, is_self_updating: bool },
    /// Superseded images are dropped; whether some are left, if that is known.
    Dropped(Option<bool>),
}

/// What came of one container.
pub(super) struct ContainerResult {
    pub(super) observation: Observation,
    /// What was decided in the end.
    pub(super) decision: Decision,
    /// The update that was carried out and ended.
    pub(super) record: Option<Record>,
    /// Whether something was done that makes what is known of the container old.
    pub(super) is_touched: bool,
    /// Whether a helper has the agent's own container from now on.
    pub(super) is_self_updating: bool,
}

/// What a deed needs beside the ports, and keeps from one deed to the next.
pub(super) struct Executor<P> {
    pub(super) context: Context<P>,
    pub(super) recovery: Recovery,
    /// Who hangs on whom, as the deeds before have found out.
    pub(super) ties: TieIndex,
    /// What earlier updates left behind without a journal, as far as it is watched.
    pub(super) sightings: OrphanWatch,
    /// Whether this agent is the one that works on the Engine.
    pub(super) engine_lock: EngineLock,
    /// Who it is in the lock, once that is known.
    pub(super) own_holder: Option<Holder>,
}

impl<P: Ports> Executor<P> {
    pub(super) fn new(context: Context<P>) -> Self {
        Self {
            context,
            recovery: Recovery::default(),
            ties: TieIndex::default(),
            sightings: OrphanWatch::default(),
            engine_lock: EngineLock::default(),
            own_holder: None,
        }
    }

    /// Carries out what was decided of a container. Where something was done since it was looked
    /// at, or it has waited for its turn, that is decided anew.
    pub(super) async fn act(
        &mut self,
        (facts, cache): (&LookFacts, &Cache),
        seen: Observation,
        is_old: bool,
    ) -> ContainerResult {
        let mut observation = seen;
        let mut circumstances = facts.circumstances.clone();
        if is_old {
            circumstances.now = self.context.ports.host().now();
            self.look_again((facts, cache), &mut observation).await;
        }
        let decision = decide(&observation, &circumstances);
        let mut acted = ContainerResult {
            observation,
            decision,
            record: None,
            is_touched: false,
            is_self_updating: false,
        };
        match self.engine_is_held_before(&acted.decision).await {
            Some(no) => acted.decision = Decision::No(no),
            None => self.carry_out(&mut acted, &circumstances).await,
        }
        acted
    }

    /// Another deed may have changed what an update of this container would meet.
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

    async fn carry_out(&mut self, acted: &mut ContainerResult, circumstances: &Circumstances) {
        match acted.decision.clone() {
            Decision::Update(plan) => match self.ask_hooks(&plan).await {
                Asked::Agreed => self.update_and_tell(*plan, acted).await,
                Asked::Held(no) => acted.decision = Decision::No(no),
                Asked::Unasked => {}
            },
            Decision::HandOver(plan) => {
                let Some(readiness) = acted.observation.readiness.take() else { return };
                let task = SelfUpdateTask::Update { force: circumstances.force };
                acted.is_self_updating =
                    self.context.hand_over(&plan, &readiness.original, task).await;
            }
            Decision::Fetch(fetch) => {
                acted.is_touched = true;
                self.prefetch(&fetch).await;
            }
            Decision::UpToDate | Decision::Republished(_) | Decision::No(_) => {}
        }
    }

    /// What keeps an update from beginning concerns its container, and no other.
    async fn update_and_tell(&mut self, plan: Plan, acted: &mut ContainerResult) {
        let Some(readiness) = acted.observation.readiness.take() else { return };
        match self.update(plan, *readiness).await {
            Ok(record) => {
                acted.record = record;
                acted.is_touched = true;
            }
            Err(error) => {
                let (reason, detail) = (Reason::EngineError, format!("no update began: {error}"));
                acted.decision = Decision::No(No { reason, detail, opens: None });
            }
        }
    }

    /// Carries out an update from its first step. `None`: it was left open.
    ///
    /// # Errors
    /// It could not begin.
    pub(super) async fn update(
        &mut self,
        plan: Plan,
        readiness: Readiness,
    ) -> Result<Option<Record>, RoundError> {
        let header = self.header(plan, readiness).await?;
        let context = self.context.for_updates();
        let update = Update::begin(context, header)?;
        // Boxed, because it is by far the largest part of whatever waits for an update.
        match Box::pin(update.run()).await {
            Ended::Finished(record) => Ok(Some(*record)),
            Ended::Left => Ok(None),
            Ended::Unfinished(journal, error) => {
                self.recovery.failed(context, &journal, &error).await;
                Ok(None)
            }
        }
    }

    /// Everything that going back needs, so that it never needs the registry.
    async fn header(&self, plan: Plan, readiness: Readiness) -> Result<Header, EngineError> {
        let ports = &self.context.ports;
        let tag = plan.reference.tag.as_deref().unwrap_or_default();
        let local = format!("{}:{tag}", plan.reference.familiar_name());
        let before = ports.engine().inspect_image(&local).await?;
        let id = before.as_ref().map(|image| inspect::id(image).to_owned());
        Ok(Header {
            version: Header::version_of(&plan),
            started_at: ports.host().now(),
            boot_id: ports.host().boot_id(),
            dependents: originals(&plan, &readiness),
            plan,
            original: readiness.original,
            tag_before: id,
            live_restore: self.context.engine_info().await?.live_restore,
        })
    }

    /// Fetches an image for an update that waits. What goes wrong is said, and tried again in the
    /// next round.
    async fn prefetch(&self, fetch: &Fetch) {
        match execute::prefetch(self.context.for_updates(), fetch).await {
            Ok(()) | Err(StepError::Asked) => {}
            Err(error) => {
                let detail = format!("the image could not be fetched ahead of its window: {error}");
                if !error.is_engine_unreachable() {
                    let failed = fetch.failed_try(detail.clone(), self.context.ports.host().now());
                    self.context.pause_after(&fetch.container, failed);
                }
                self.context.warn_about(fetch.container.clone(), detail);
            }
        }
    }

    /// Drops images that were fetched ahead and are not wanted any more. Says whether some are
    /// left.
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
