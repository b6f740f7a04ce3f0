//! The helper's part: the ordinary update of the agent's container, from a container beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SelfUpdateError;
use crate::agent::handle::question::{AskError, RollBack};
use crate::agent::{Agent, RoundEnd, RoundError, RoundRequest};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Verdict;
use crate::core::docker::inspect;
use crate::core::update::self_update::{LockOwner, SelfUpdate, SelfUpdateTask};
use crate::engine::Engine;
use crate::ports::Ports;
use crate::recover;

/// The pause before something is tried again that the Engine's absence, or a busy container, cut
/// short.
const PAUSE: Duration = Duration::from_secs(3);

/// What a try came to.
enum AttemptResult {
    /// It is over, one way or the other.
    Over,
    /// The Engine was away.
    NotYet,
}

impl<P: Ports> Agent<P> {
    /// Does what was asked of a helper, with the lock in hand: ends the update that is open, or
    /// begins it, and then says that it is the agent's turn. Killed at any point, it does the same
    /// once more, and nothing twice.
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
            // It works for the agent of this state directory, and holds the Engine in its place.
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
        Ok(open.iter().any(|journal| journal.header.plan.main.container == self_update.container))
    }

    /// Whether no update of the agent's container is open any more, or none that can be ended.
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
                self.context.warn_of(self_update, format!("recovery is tried again: {error}"));
                false
            }
        }
    }

    /// Begins the update. Where another container bears the name by now, it was done already, or a
    /// person was faster.
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

    /// The agent found nothing in the way of the update, and the helper did: where that is more
    /// than a registry that is away, it is not handed over for ever.
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
