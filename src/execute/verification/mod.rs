//! The trial of the new containers: listens to the Engine, runs the probes, and ends with a verdict
//! that `core` makes. It writes nothing.

mod health_watch;
mod post_update;
mod trial;

pub(super) use health_watch::{HealthWatch, check_streams_are_open};
pub(super) use post_update::PostUpdateHooks;
pub(super) use trial::Trial;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};

use super::engine_return::check_engine_stayed;
use super::external_changes::check_old_containers_stayed_down;
use super::inspector::Inspector;
use super::{StepError, UpdateContext, hooks};
use crate::core::docker::inspect;
use crate::core::update::fault;
use crate::core::update::health::HealthVerdict;
use crate::core::update::history::Cause;
use crate::core::update::plan::Plan;
use crate::engine::Containers;
use crate::ports::Ports;
use health_watch::ENGINE_LOST;

/// How many of its last log lines are read to find out why a container ended.
const LAST_WORDS: usize = 10;

/// What the old containers do during a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerificationStage {
    /// They have stopped before the new ones started.
    Alone,
    /// They serve, and the new ones do not yet.
    Beside,
    /// Both serve, for the drain time.
    Joined { drain: Duration },
    /// They have stopped, and the new ones have proved themselves before.
    HandedOver,
}

impl VerificationStage {
    const fn has_stopped_the_old(self) -> bool {
        matches!(self, Self::Alone | Self::HandedOver)
    }

    /// Hooks run once, in the verification that can still cost no gap.
    const fn runs_hooks(self) -> bool {
        matches!(self, Self::Alone | Self::Beside)
    }
}

/// The verification of all new containers of an update.
pub(super) struct Verification<'a, P: Ports> {
    pub(super) context: UpdateContext<'a, P>,
    pub(super) inspector: Inspector<'a, P::Engine>,
    pub(super) hooks: &'a mut PostUpdateHooks,
    pub(super) stage: VerificationStage,
}

impl<'a, P: Ports> Verification<'a, P> {
    /// Watches all new containers until all are healthy at the same time, and runs their hooks.
    /// `watches` were opened before the start; without them it listens from now on.
    ///
    /// # Errors
    /// Why one of them failed, or why there is no verdict.
    pub(super) async fn run(&mut self, watches: Vec<HealthWatch>) -> Result<(), StepError> {
        let new = self.inspector.new_ids()?;
        let mut trials = self.begin(&new, watches).await?;
        self.check_old_containers().await?;
        for trial in &mut trials {
            trial.look(self.context.ports.engine()).await?;
        }
        let plan = self.inspector.plan();
        let verifications = self.inspector.progress().verifications;
        let due = match self.stage.runs_hooks() {
            true => self.hooks.due(self.context, (plan, verifications), &new),
            false => Vec::new(),
        };
        let has_hooks = !due.is_empty();
        let run = post_update::run(self.context, plan, due);
        try_join(self.await_verdicts(&mut trials), run).await?;
        if has_hooks {
            // A hook may have taken longer than the trial, and the containers were not checked
            // during it.
            self.await_verdicts(&mut trials).await?;
        }
        if self.stage.runs_hooks() {
            self.run_required_hooks(&new, &mut trials).await?;
        }
        self.check_old_containers().await
    }

    async fn check_old_containers(&self) -> Result<(), StepError> {
        match self.stage.has_stopped_the_old() {
            true => check_old_containers_stayed_down(self.inspector).await,
            false => Ok(()),
        }
    }

    /// Runs the required post-update hooks of the healthy containers. A container or an Engine that
    /// ended meanwhile is the cause of a failure, and not the hook.
    async fn run_required_hooks(
        &self,
        new: &[(usize, String)],
        trials: &mut [Trial<'_>],
    ) -> Result<(), StepError> {
        let plan = self.plan();
        let is_required =
            |(number, _): &(usize, String)| plan.member(*number).hooks.is_post_update_required;
        if !new.iter().any(is_required) {
            return Ok(());
        }
        let failed = hooks::run_required(self.context, self.inspector, new).await?;
        if failed.is_some() {
            tokio::time::sleep(hooks::AFTER_FAILURE).await;
        }
        self.await_verdicts(trials).await?;
        let Some(failed) = failed else { return Ok(()) };
        self.check_engine_stayed().await?;
        Err(failed)
    }

    async fn begin(
        &self,
        new: &[(usize, String)],
        watches: Vec<HealthWatch>,
    ) -> Result<Vec<Trial<'a>>, StepError> {
        let engine = self.context.ports.engine();
        let mut watches = watches.into_iter();
        let mut trials = Vec::new();
        for (number, id) in new.iter().cloned() {
            let watch = match watches.next() {
                Some(watch) => watch,
                None => HealthWatch::begin(engine, &id).await?,
            };
            let member = (number, self.plan().member(number));
            let may_be_stale = self.may_be_stale();
            let trial = Trial::begin(engine, member, id, watch, may_be_stale).await?;
            trials.push(match self.stage {
                VerificationStage::Joined { drain } => trial.for_as_long_as(drain),
                _ => trial,
            });
        }
        Ok(trials)
    }

    const fn plan(&self) -> &'a Plan {
        self.inspector.plan()
    }

    /// Whether the result of a HEALTHCHECK may be from before a restart of the Engine, or from
    /// before the container joined its networks. Docker 20.10 never runs the HEALTHCHECK of a
    /// container that kept running without the Engine, and repeats the old result.
    const fn may_be_stale(&self) -> bool {
        let is_again = self.inspector.progress().verifications > 1;
        matches!(self.stage, VerificationStage::Joined { .. })
            || (self.inspector.header().live_restore && is_again)
    }

    /// Waits until all are healthy at the same time; the first failure ends it for all.
    async fn await_verdicts(&self, trials: &mut [Trial<'_>]) -> Result<(), StepError> {
        loop {
            let numbers = trials.iter().map(|trial| trial.number).collect::<BTreeSet<_>>();
            let missing = tokio::sync::watch::Sender::new(numbers);
            let mut news = missing.subscribe();
            let all = trials.iter_mut().map(|trial| self.attend(trial, &missing));
            tokio::select! {
                biased;
                failed = try_join_all(all) => drop(failed?),
                _ = news.wait_for(BTreeSet::is_empty) => {}
            }
            // Time has passed, but perhaps without a check: an answer was slow, or the machine
            // slept. It counts only if they run now and no event was missed.
            let mut are_well = true;
            for trial in trials.iter_mut() {
                trial.look(self.context.ports.engine()).await?;
                trial.watch.hear_what_is_ready();
                are_well &= self.judge(trial).await?.is_none();
            }
            if are_well {
                return Ok(());
            }
        }
    }

    /// Watches one container until it fails or its time is up. Returns whether it is healthy.
    async fn attend(
        &self,
        trial: &mut Trial<'_>,
        missing: &tokio::sync::watch::Sender<BTreeSet<usize>>,
    ) -> Result<Infallible, StepError> {
        loop {
            let until = self.judge(trial).await?;
            missing.send_modify(|missing| {
                _ = match until {
                    None => missing.remove(&trial.number),
                    Some(_) => missing.insert(trial.number),
                };
            });
            let until = until.unwrap_or(Duration::MAX);
            trial.wait(self.context.ports, self.context.stop, until).await?;
        }
    }

    /// Until when the container must be watched; nothing if it is healthy.
    async fn judge(&self, trial: &Trial<'_>) -> Result<Option<Duration>, StepError> {
        let cause = match trial.verdict() {
            HealthVerdict::Healthy => return Ok(None),
            HealthVerdict::Wait { until } => return Ok(Some(until)),
            HealthVerdict::Inconclusive(detail) => return Err(StepError::Spoilt(detail)),
            HealthVerdict::Unknown(detail) => {
                Cause::interrupted(self.plan().naming(trial.number, detail))
            }
            HealthVerdict::Person(detail) => {
                self.check_engine_stayed().await?;
                let detail = self.plan().naming(trial.number, detail);
                return Err(StepError::Meddled { number: trial.number, detail });
            }
            HealthVerdict::Failed(detail) => {
                self.check_engine_stayed().await?;
                let detail = self.in_full(&trial.id, detail).await;
                self.attribute_fault(trial, detail).await
            }
        };
        Err(StepError::Cause(cause))
    }

    /// The cause of a failed trial. The last log lines are read only if they can show it.
    async fn attribute_fault(&self, trial: &Trial<'_>, detail: String) -> Cause {
        if matches!(self.stage, VerificationStage::Joined { .. }) && !trial.has_exited() {
            // It was healthy before. Its connections were cut, and a program may not bear that.
            let detail = format!("after it got the names of the service: {detail}");
            return Cause::surroundings(self.plan().naming(trial.number, detail));
        }
        let fetched = self.inspector.progress().known.has_fetched(trial.number);
        let log = match fault::may_be_damaged_copy(self.plan(), trial.number, fetched) {
            true => self.context.ports.engine().logs(&trial.id, LAST_WORDS).await,
            false => Ok(Vec::new()),
        };
        fault::of_trial(self.plan(), trial.number, &log.unwrap_or_default(), detail)
    }

    async fn check_engine_stayed(&self) -> Result<(), StepError> {
        check_engine_stayed(self.context.ports.engine(), ENGINE_LOST).await
    }

    /// The cause with the last output of the HEALTHCHECK, if there is any.
    async fn in_full(&self, new: &str, detail: String) -> String {
        /// How much of a HEALTHCHECK's output is shown, in characters; more would hide the cause.
        const OUTPUT_LENGTH_MAX: usize = 300;
        let engine = self.context.ports.engine();
        let document = engine.inspect(new).await.ok().flatten().unwrap_or_default();
        let output: String =
            inspect::health_output(&document).chars().take(OUTPUT_LENGTH_MAX).collect();
        let is_told = output.is_empty() || detail.contains(&output);
        if is_told { detail } else { format!("{detail}: {output}") }
    }
}
