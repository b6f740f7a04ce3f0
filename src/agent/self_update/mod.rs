//! The agent's own container. The self-update helper updates it, and the process that gets the lock
//! of the state directory settles what is left. `core::update::self_update` has the rules, `assist`
//! is the helper's part.

// The helper's part of an update.
mod helper;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::agent::context::Context;
use crate::core::decide::memory::Refusal;
use crate::core::docker::inspect;
use crate::core::recreate::Recreation;
use crate::core::recreate::self_update_helper::{helper, is_self_update_helper};
use crate::core::update::event::Event;
use crate::core::update::plan::Plan;
use crate::core::update::self_update::{
    HelperState, LockOwner, LockOwnerAction, SelfUpdate, SelfUpdateTask, settle,
    weak_restart_policy,
};
use crate::engine::{Containers, EngineError, Networks};
use crate::execute;
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// How long a new agent may take to reach the Engine while the helper verifies it. An agent that
/// cannot reach it must fail while the old container is still there.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it tries.
const ENGINE_INTERVAL: Duration = Duration::from_millis(250);

/// Why the agent's own container could not be handed over to the helper, or taken back.
#[derive(Debug, thiserror::Error)]
pub enum SelfUpdateError {
    /// An error of the Engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An error of the state directory.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The container has changed since the decision.
    #[error("{0}")]
    Unfit(String),
}

impl<P: Ports> Context<P> {
    /// Hands the agent's own container over to a helper. Returns whether a helper updates it from
    /// now on. If no helper can be created, that counts as a failed try, and the agent continues.
    pub(in crate::agent) async fn hand_over(
        &self,
        plan: &Plan,
        original: &Value,
        task: SelfUpdateTask,
    ) -> bool {
        let (Some(self_update), Some((own, _))) =
            (SelfUpdate::of(plan, task), plan.first_changed())
        else {
            return false;
        };
        if !self.is_resident {
            let detail = "only the agent that runs in this container can hand it over to a helper";
            self.warn_of(&self_update, detail);
            return false;
        }
        let asked = self.start_self_update_helper(&self_update, original, &own.recreation).await;
        if let Err(error) = &asked {
            self.warn_of(&self_update, format!("no self-update helper could be created: {error}"));
            self.take_back(&self_update, &error.to_string()).await;
        }
        asked.is_ok()
    }

    /// The helper never began. What cannot be cleaned up now is cleaned up at the agent's next
    /// start.
    async fn take_back(&self, self_update: &SelfUpdate, why: &str) {
        if let Err(error) = self.count_in_vain(self_update, why) {
            self.warn_of(self_update, error.to_string());
        }
        self.tidy_up(self_update).await;
    }

    /// The task is written to disk before the helper exists, so that no other process begins it.
    async fn start_self_update_helper(
        &self,
        self_update: &SelfUpdate,
        original: &Value,
        recreation: &Recreation,
    ) -> Result<(), SelfUpdateError> {
        let how = helper(original, recreation, &self_update.image_id);
        let how = how.map_err(|error| SelfUpdateError::Unfit(error.to_string()))?;
        let reported_until = Some(self.reported_until()?);
        self.ports.state().hand_over(&SelfUpdate { reported_until, ..self_update.clone() })?;
        self.remove_helper(self_update).await?;
        let engine = self.ports.engine();
        let id = engine.create(&self_update.helper(), &how.body, how.platform.as_ref()).await?;
        for endpoint in &how.connect {
            engine.connect(&endpoint.network, &id, &endpoint.config).await?;
        }
        engine.start(&id).await?;
        let (subject, helper) = (self_update.subject(), self_update.helper());
        self.listener.receive(&Event::SelfUpdating { subject, helper });
        Ok(())
    }

    /// The newest update that was reported. If an earlier helper was not cleaned up, this is the
    /// value from before that helper.
    fn reported_until(&self) -> Result<String, JournalError> {
        let state = self.ports.state();
        if let Some(known) = state.self_update()?.and_then(|asked| asked.reported_until) {
            return Ok(known);
        }
        let newest = state.history()?.into_iter().next();
        Ok(newest.map_or(String::new(), |record| record.id))
    }

    /// Settles what a helper or an earlier agent has left. Returns `true` if this agent may work,
    /// and `false` if a helper works.
    pub(in crate::agent) async fn settle(&self) -> Result<bool, SelfUpdateError> {
        let self_update = self.ports.state().self_update()?;
        let own = self.own_journal()?;
        match (settle(self_update.as_ref(), own.is_some()), self_update, own) {
            (LockOwnerAction::Nothing, ..) => Ok(true),
            (LockOwnerAction::MakeHelper { helpers }, _, Some(journal)) => {
                self.make_another_helper(&journal, helpers).await?;
                Ok(false)
            }
            (LockOwnerAction::CountAndTidyUp, Some(self_update), _) => {
                self.warn_of(&self_update, "the helper was not there to update the agent");
                self.take_back(&self_update, "the helper was not there").await;
                Ok(true)
            }
            (_, Some(self_update), _) => {
                self.tidy_up(&self_update).await;
                Ok(true)
            }
            (_, None, _) => Ok(true),
        }
    }

    /// Creates another helper for an open journal. The helper ends the update, no matter which task
    /// it began with.
    async fn make_another_helper(
        &self,
        journal: &UpdateJournal,
        helpers: u32,
    ) -> Result<(), SelfUpdateError> {
        let plan = &journal.header.plan;
        let Some(first) = SelfUpdate::of(plan, SelfUpdateTask::Update { force: false }) else {
            return Ok(());
        };
        let (own, self_update) = (plan.member(0), SelfUpdate { helpers, ..first });
        let original = journal.header.original_of(0);
        self.start_self_update_helper(&self_update, original, &own.recreation).await
    }

    /// A person ran `recover`: creates one more helper for an update of the agent's own container
    /// that earlier helpers could not end. Returns whether there is a helper. The history shows the
    /// result.
    pub(in crate::agent) async fn recover_itself(&self) -> bool {
        let Ok(Some(journal)) = self.own_journal() else { return false };
        if !self.is_resident {
            return false;
        }
        let made = self.make_another_helper(&journal, 1).await;
        if let Err(error) = &made {
            self.warn(format!("no self-update helper could be created: {error}"));
        }
        made.is_ok()
    }

    /// The open update of the container in which this agent runs.
    fn own_journal(&self) -> Result<Option<UpdateJournal>, JournalError> {
        let Some(own) = self.ports.host().own_container() else { return Ok(None) };
        let open = self.ports.state().open_journals()?;
        Ok(open.into_iter().find(|journal| journal.concerns(&own)))
    }

    /// Removes the helper, then its image if nothing else uses it, then the task. After that it
    /// reports, once, the updates that the helper ended, because the helper's log and metrics are
    /// gone.
    async fn tidy_up(&self, self_update: &SelfUpdate) {
        if let Err(error) = self.try_to_tidy_up(self_update).await {
            self.warn_of(self_update, format!("the helper could not be removed yet: {error}"));
        }
    }

    async fn try_to_tidy_up(&self, self_update: &SelfUpdate) -> Result<(), SelfUpdateError> {
        self.remove_helper(self_update).await?;
        match execute::drop_if_unused(self.ports.engine(), &self_update.image_id).await {
            // For example, a person's image was built on this image; this would be the same at each
            // try.
            Ok(()) | Err(EngineError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let unreported = self_update.unreported(self.ports.state().history()?);
        self.ports.state().end_self_update()?;
        for record in unreported {
            self.listener.receive(&Event::UpdateEnded(Box::new(record)));
        }
        Ok(())
    }

    /// Removes the helper. It ends when it is stopped. Its volumes are the agent's. A container
    /// that has the helper's name and is not a helper stays, and the log says so.
    async fn remove_helper(&self, self_update: &SelfUpdate) -> Result<(), EngineError> {
        let engine = self.ports.engine();
        let Some(found) = engine.inspect(&self_update.helper()).await? else { return Ok(()) };
        if !is_self_update_helper(&found, &self_update.image_id) {
            let name = self_update.helper();
            let detail = format!("{name} is not a helper of this agent, and is left alone");
            self.warn_of(self_update, detail);
            return Ok(());
        }
        let id = inspect::id(&found);
        engine.stop(id, inspect::stop_timeout(&found)).await?;
        engine.remove(id, false).await?;
        Ok(())
    }

    /// Counts an update that never began like an interrupted one, so that the number of tries has a
    /// limit.
    pub(in crate::agent) fn count_in_vain(
        &self,
        self_update: &SelfUpdate,
        why: &str,
    ) -> Result<(), JournalError> {
        if self_update.task == SelfUpdateTask::RollBack {
            return Ok(());
        }
        let mut memory = self.ports.state().memory()?;
        let offer = &self_update.to;
        let (digests, at) = (offer.digests(), self.ports.host().now());
        let refusal = Refusal { digests, at, detail: why.to_owned() };
        memory.note_interruption(&self_update.subject(), &offer.manifest, refusal);
        self.ports.state().remember(&memory)
    }

    pub(in crate::agent) async fn is_meant(
        &self,
        self_update: &SelfUpdate,
    ) -> Result<bool, SelfUpdateError> {
        let Some(own) = self.ports.host().own_container() else { return Ok(false) };
        self.read_what_others_wrote()?;
        let begun = Instant::now();
        loop {
            match self.ports.engine().inspect(&own).await {
                Ok(found) => {
                    let found = found.unwrap_or_default();
                    return Ok(self_update.is_about(&own, inspect::name(&found)));
                }
                Err(error) if begun.elapsed() >= ENGINE_TIMEOUT => return Err(error.into()),
                Err(_) => tokio::time::sleep(ENGINE_INTERVAL).await,
            }
        }
    }

    /// Reads the state directory. An agent that cannot read it could not continue its work either.
    fn read_what_others_wrote(&self) -> Result<(), JournalError> {
        let state = self.ports.state();
        state.memory()?;
        state.history()?;
        state.open_journals()?;
        Ok(())
    }

    pub(in crate::agent) async fn helper(&self, self_update: &SelfUpdate) -> Option<HelperState> {
        let found = self.ports.engine().inspect(&self_update.helper()).await.ok()?;
        let is_helper = |found: &Value| is_self_update_helper(found, &self_update.image_id);
        Some(match found.filter(is_helper) {
            None => HelperState::Absent,
            Some(found) if inspect::is_running(&found) => HelperState::Runs,
            Some(_) => HelperState::Stopped,
        })
    }

    pub(in crate::agent) fn self_update(&self) -> Result<Option<SelfUpdate>, JournalError> {
        self.ports.state().self_update()
    }

    /// Warns if a crash of the Engine would end the agent.
    pub(in crate::agent) async fn look_at_own_restart_policy(&self) {
        let Some(own) = self.ports.host().own_container() else { return };
        let Ok(Some(found)) = self.ports.engine().inspect(&own).await else { return };
        if let Some(detail) = weak_restart_policy(&found) {
            self.warn(detail);
        }
    }

    pub(in crate::agent) fn warn_of(&self, self_update: &SelfUpdate, detail: impl Into<String>) {
        self.warn_about(self_update.container.clone(), detail);
    }

    /// Writes into the file that the helper has nothing more to do.
    pub(in crate::agent) fn release_lock_to_agent(
        &self,
        self_update: &SelfUpdate,
    ) -> Result<(), JournalError> {
        self.ports.state().hand_over(&SelfUpdate { turn: LockOwner::Agent, ..self_update.clone() })
    }
}

impl<P: Ports> Agent<P> {
    /// Whether the helper's task is about the container in which this agent runs.
    ///
    /// # Errors
    /// The Engine cannot be reached, or the files of earlier agents cannot be read. Both mean that
    /// a new agent is unfit.
    pub async fn is_meant(&self, self_update: &SelfUpdate) -> Result<bool, SelfUpdateError> {
        self.context.is_meant(self_update).await
    }

    /// The state of the helper; `None` if the Engine does not answer.
    pub async fn helper(&self, self_update: &SelfUpdate) -> Option<HelperState> {
        self.context.helper(self_update).await
    }

    /// The task of a helper, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn self_update(&self) -> Result<Option<SelfUpdate>, JournalError> {
        self.context.self_update()
    }
}
