//! The self-update helper's part: the ordinary update of the agent's container, from another
//! container.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SelfUpdateError;
use crate::agent::handle::question::{AskError, RollBack};
use crate::agent::{Agent, RoundEnd, RoundError, RoundRequest};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Verdict;
use crate::core::docker::inspect;
use crate::core::update::self_update::{LockOwner, SelfUpdate, SelfUpdateTask};
use crate::engine::Containers;
use crate::journal::UpdateJournal;
use crate::ports::Ports;
use crate::recover;

/// The pause before another try, if the Engine was away or a container was busy.
const PAUSE: Duration = Duration::from_secs(3);

/// The result of a try.
enum AttemptResult {
    /// It is over, successful or not.
    Over,
    /// The Engine was away.
    NotYet,
}

impl<P: Ports> Agent<P> {
    /// Does the task of the helper while it has the lock: ends the open update, or begins it, and
    /// then gives the turn to the agent. After a kill at any point it does the same again, and
    /// nothing twice.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub async fn assist(&mut self) -> Result<(), SelfUpdateError> {
        let Some(self_update) =
            self.context.self_update()?.filter(|asked| asked.turn == LockOwner::Helper)
        else {
            return Ok(());
        };
        let mut is_tried = self.is_open(&self_update)?;
        while !self.context.stop.is_cancelled() {
            // The helper works for the agent of this state directory, and takes the Engine's lock
            // in its place.
            if !matches!(self.hold_engine().await, Ok(None)) {
                let _ = self.context.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                continue;
            }
            let is_settled = self.recover_self(&self_update).await;
            if is_settled && is_tried {
                self.context.release_lock_to_agent(&self_update)?;
                return Ok(());
            }
            is_tried = is_tried
                || is_settled && matches!(self.begin_for(&self_update).await, AttemptResult::Over);
            let is_done = is_tried && !self.is_open(&self_update)?;
            if !is_done {
                let _ = self.context.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
        Ok(())
    }

    fn is_open(&self, self_update: &SelfUpdate) -> Result<bool, SelfUpdateError> {
        let open = self.context.ports.state().open_journals()?;
        let is_its = |journal: &UpdateJournal| journal.header.plan.subject == self_update.subject();
        Ok(open.iter().any(is_its))
    }

    /// Whether no update of the agent's container is open any more, except one that cannot be
    /// ended.
    async fn recover_self(&mut self, self_update: &SelfUpdate) -> bool {
        let run = self.recovery.begin_run(false, BTreeSet::new());
        match recover::take_up(self.context.for_updates(), &run).await {
            Ok(taken_up) => {
                let Self { recovery, context, .. } = self;
                let (ports, listener) = (&*context.ports, &*context.listener);
                let recovered = recovery.settle(ports, listener, (&run, taken_up));
                !matches!(
                    recovered.open.get(&self_update.container),
                    Some(OpenUpdate::InFlight | OpenUpdate::Down(_))
                )
            }
            Err(error) => {
                self.context
                    .warn_of(self_update, format!("recovery failed and is tried again: {error}"));
                false
            }
        }
    }

    /// Begins the update. If another container has the name by now, the update was done already, or
    /// a person replaced the container.
    async fn begin_for(&mut self, self_update: &SelfUpdate) -> AttemptResult {
        match self.context.ports.engine().inspect(&self_update.container).await {
            Err(_) => return AttemptResult::NotYet,
            Ok(None) => return AttemptResult::Over,
            Ok(Some(found)) if inspect::id(&found) != self_update.old_container => {
                return AttemptResult::Over;
            }
            Ok(Some(_)) => {}
        }
        let ended = match self_update.task {
            SelfUpdateTask::Update { force } => {
                let names = Some(BTreeSet::from([self_update.container.clone()]));
                let request =
                    RoundRequest { names, force, tries_at_once: true, ..RoundRequest::default() };
                self.answer(request).await.map(Some)
            }
            SelfUpdateTask::RollBack => {
                let container = self_update.container.clone();
                self.answer(RollBack { container }).await.map(|_| None)
            }
        };
        match ended {
            Err(AskError::Round(RoundError::Engine(error))) if error.is_engine_unreachable() => {
                return AttemptResult::NotYet;
            }
            Err(error) => self.context.warn_of(self_update, error.to_string()),
            Ok(Some(end)) => self.count_refusal_to_begin(self_update, &end),
            Ok(None) => {}
        }
        AttemptResult::Over
    }

    /// The agent found no reason against the update, but the helper did. If the reason is more than
    /// a registry that does not answer, the try counts, so that the number of tries has a limit.
    fn count_refusal_to_begin(&self, self_update: &SelfUpdate, end: &RoundEnd) {
        let report =
            end.reports.iter().find(|report| report.subject.is_container(&self_update.container));
        let Some(report) = report.filter(|_| end.records.is_empty()) else { return };
        if report.verdict == Verdict::Held {
            let why = report.detail.clone().unwrap_or_default();
            self.context.warn_of(self_update, format!("the helper could not begin: {why}"));
            if let Err(error) = self.context.count_in_vain(self_update, &why) {
                self.context.warn_of(self_update, error.to_string());
            }
        }
    }
}
