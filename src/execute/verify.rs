//! Watches new containers until they have proved themselves: an ear on the Engine, a probe where
//! the user asked for one, and a verdict that is made elsewhere.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{try_join, try_join_all};
use serde_json::Value;
use tokio::time::Instant;

use super::health_watch::{ENGINE_LOST, HealthWatch};
use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::update::Note;
use crate::core::update::health::{
    ContainerStatus, Gate, HealthPolicy, HealthVerdict, Sample, verdict,
};
use crate::core::update::history::Cause;
use crate::core::update::plan::ImageSource;
use crate::core::update::start_error;
use crate::engine::{Engine, EngineError};
use crate::exec;
use crate::ports::Ports;

/// How often a probe is tried, and how often an old word of a HEALTHCHECK is looked at for a new
/// one, of which the Engine tells nothing where it says the same.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two looks at the container, whatever the event stream says: a stream
/// can be silent because its other end is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// How many of its last lines tell why a container ended.
const LAST_WORDS: usize = 10;

/// One new container on trial.
struct Trial {
    /// The number of the member.
    number: usize,
    /// The container's ID.
    id: String,
    document: Value,
    policy: HealthPolicy,
    watch: HealthWatch,
    /// How many checks have failed in a row that the agent itself ran.
    failed_checks: u32,
}

impl Trial {
    fn verdict(&self) -> HealthVerdict {
        verdict(&self.policy, &self.watch.samples, self.watch.since.elapsed())
    }
}

impl<P: Ports> Update<'_, P> {
    /// Whether the Engine is the one that was asked to listen, as far as it can be known without
    /// another question, which would only be one more moment in which it may go away.
    pub(super) fn check_streams_are_open(&mut self) -> Result<(), StepError> {
        for watch in &mut self.watches {
            watch.hear_what_is_ready();
            let is_lost = |sample: &Sample| matches!(sample.status, ContainerStatus::EngineLost(_));
            if watch.samples.iter().any(is_lost) {
                return Err(StepError::Spoilt(ENGINE_LOST.into()));
            }
        }
        Ok(())
    }

    /// Watches all new containers until there is a verdict.
    ///
    /// The verdict counts only if the Engine was the same all the time: its event streams, opened
    /// before the start, must not have ended. A verification that is taken up again begins from
    /// nothing, with the whole time of the policies.
    pub(super) async fn verify(&mut self) -> Result<Note, StepError> {
        loop {
            match self.watch_all().await {
                Err(StepError::Meddled { number, detail }) => {
                    let is_theirs = self.await_external_changes(number).await?;
                    if number == 0 || !is_theirs {
                        return Err(StepError::Meddled { number, detail });
                    }
                    self.release(number)?;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(Note::default()),
            }
        }
    }

    async fn watch_all(&mut self) -> Result<(), StepError> {
        let mut watches = std::mem::take(&mut self.watches).into_iter();
        let mut trials = Vec::new();
        let new = self.new_containers()?;
        for (number, id) in new.iter().cloned() {
            let mut watch = match watches.next() {
                Some(watch) => watch,
                None => self.listen(&id).await?,
            };
            let document = self.ports.engine().inspect(&id).await?.unwrap_or_default();
            let policy = HealthPolicy::of(&self.plan().member(number).health, &document);
            watch.gate = policy.gate;
            trials.push(Trial { number, id, document, policy, watch, failed_checks: 0 });
        }
        self.check_old_containers_stayed_down().await?;
        for trial in &mut trials {
            self.look(trial).await?;
        }
        let post_update_hooks = self.post_update_hooks(&new);
        let has_hooks = !post_update_hooks.is_empty();
        try_join(self.await_verdicts(&mut trials), self.run_post_update(post_update_hooks)).await?;
        if has_hooks {
            // A hook may have taken longer than the trial, and nobody looked meanwhile.
            self.await_verdicts(&mut trials).await?;
        }
        self.check_old_containers_stayed_down().await
    }

    /// Waits until all are well at the same time; the first failure ends it for all.
    async fn await_verdicts(&self, trials: &mut [Trial]) -> Result<(), StepError> {
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
            // Time has passed, but nobody may have looked meanwhile: an answer was slow, or the
            // machine slept. It counts only if they run now, and nothing was unheard.
            let mut are_well = true;
            for trial in trials.iter_mut() {
                self.look(trial).await?;
                trial.watch.hear_what_is_ready();
                are_well &= self.judge(trial).await?.is_none();
            }
            if are_well {
                return Ok(());
            }
        }
    }

    /// Watches one of them for as long as it does not fail, and says whether it is well.
    async fn attend(
        &self,
        trial: &mut Trial,
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
            self.wait(trial, until.unwrap_or(Duration::MAX)).await?;
        }
    }

    /// Until when it must be watched; nothing where it is well.
    async fn judge(&self, trial: &Trial) -> Result<Option<Duration>, StepError> {
        let cause = match trial.verdict() {
            HealthVerdict::Healthy => return Ok(None),
            HealthVerdict::Wait { until } => return Ok(Some(until)),
            HealthVerdict::Inconclusive(detail) => return Err(StepError::Spoilt(detail)),
            HealthVerdict::Unknown(detail) => Cause::interrupted(self.naming(trial.number, detail)),
            HealthVerdict::Person(detail) => {
                self.check_engine_stayed().await?;
                let detail = self.naming(trial.number, detail);
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

    /// The image's, unless its copy on this machine is an old one and seems to be damaged. A copy
    /// that did not come from the registry cannot be pulled again, nor is that of a dependent.
    async fn attribute_fault(&self, trial: &Trial, detail: String) -> Cause {
        let is_fresh =
            self.journal.progress.known.fetched || self.plan().source != ImageSource::Registry;
        let log = match is_fresh || trial.number != 0 {
            true => Vec::new(),
            false => self.ports.engine().logs(&trial.id, LAST_WORDS).await.unwrap_or_default(),
        };
        if start_error::is_damaged_copy(&log.join("\n")) {
            return Cause::damaged_copy(format!("{detail}; {}", start_error::PULLED_AGAIN));
        }
        Cause::image(self.naming(trial.number, detail))
    }

    /// An Engine that is shutting down stops its containers while its event stream still runs; but
    /// it no longer takes new connections. Nothing that was seen of such an end counts.
    async fn check_engine_stayed(&self) -> Result<(), StepError> {
        let gone = |error: EngineError| match error.is_engine_unreachable() {
            true => StepError::Spoilt(ENGINE_LOST.into()),
            false => error.into(),
        };
        self.ports.engine().info().await.map(|_| ()).map_err(gone)
    }

    /// Waits for whatever comes first: an event, the next probe, a look, or the given time.
    async fn wait(&self, trial: &mut Trial, until: Duration) -> Result<(), StepError> {
        let is_probed = trial.policy.gate == Gate::Probe || trial.policy.own_check.is_some();
        let watch = &mut trial.watch;
        let is_unchecked =
            watch.samples.last().is_some_and(|it| it.status == ContainerStatus::Unchecked);
        let pause = if is_probed || is_unchecked { PROBE_INTERVAL } else { LOOK_INTERVAL };
        // From the last look: a stream that talks without end, as one does of a HEALTHCHECK each
        // second, must not put the next one off for ever.
        let next = watch.looked_at + pause;
        let deadline = watch.since.checked_add(until).map_or(next, |until| until.min(next));
        tokio::select! {
            () = self.stop.cancelled() => Err(StepError::Asked),
            event = watch.events.get_mut().next() => {
                match event {
                    Some(event) => watch.receive(&event),
                    None => watch.see(ContainerStatus::EngineLost(ENGINE_LOST.into())),
                }
                Ok(())
            }
            () = tokio::time::sleep_until(deadline) => {
                if is_probed {
                    self.probe(trial).await;
                    self.run_own_check(trial).await;
                }
                self.look(trial).await
            }
        }
    }

    /// Asks the Engine how the container is: an exit before the first event is seen here.
    async fn look(&self, trial: &mut Trial) -> Result<(), StepError> {
        let watch = &mut trial.watch;
        watch.looked_at = Instant::now();
        let Some(document) = self.ports.engine().inspect(&trial.id).await? else {
            watch.see(ContainerStatus::Removed);
            return Ok(());
        };
        if !inspect::is_running(&document) {
            // The stream tells why, if it still lives; it may lag behind.
            self.drain_events(watch).await;
            let code = inspect::exit_code(&document);
            let out_of_memory = inspect::flag(&document, "/State/OOMKilled");
            watch.see(ContainerStatus::Exited { code, out_of_memory });
            return Ok(());
        }
        let is_stale = self.may_be_stale()
            && inspect::last_check_at(&document) == inspect::last_check_at(&trial.document);
        let output = || inspect::health_output(&document).to_owned();
        match (watch.gate, inspect::health(&document)) {
            (Gate::Healthcheck, _) if is_stale => watch.see(ContainerStatus::Unchecked),
            (Gate::Healthcheck, Some("healthy")) => watch.see(ContainerStatus::Healthy),
            (Gate::Healthcheck, Some("unhealthy")) => {
                watch.see(ContainerStatus::Unhealthy(output()))
            }
            // The agent's own run of the check has told more than the Engine's word `starting`.
            (Gate::Healthcheck, _) if trial.policy.own_check.is_some() => {}
            (Gate::Healthcheck, _) if inspect::last_check_at(&document).is_empty() => {
                watch.see(ContainerStatus::NeverChecked);
            }
            (Gate::Healthcheck, _) => watch.see(ContainerStatus::NotHealthy(output())),
            (Gate::Probe | Gate::Running, _) => {}
        }
        Ok(())
    }

    /// Whether what the Engine says of a HEALTHCHECK may be from before it was started again.
    /// Docker 20.10 never runs that of a container that has outlived it, and goes on saying what it
    /// said before.
    const fn may_be_stale(&self) -> bool {
        self.journal.header.live_restore && self.journal.progress.verifications > 1
    }

    /// Hears what the stream has ready, for a moment at most.
    async fn drain_events(&self, watch: &mut HealthWatch) {
        const MOMENT: Duration = Duration::from_millis(200);
        while let Ok(event) = tokio::time::timeout(MOMENT, watch.events.get_mut().next()).await {
            match event {
                Some(event) => watch.receive(&event),
                None => {
                    watch.see(ContainerStatus::EngineLost(ENGINE_LOST.into()));
                    return;
                }
            }
        }
    }

    /// Runs the command of a HEALTHCHECK that the Engine runs too seldom for this trial, as the
    /// Engine would: in the container, as its user, for as long as one run may take.
    async fn run_own_check(&self, trial: &mut Trial) {
        let Some(check) = &trial.policy.own_check else { return };
        let run = self.ports.engine().exec(&trial.id, &check.command, check.timeout).await;
        let detail = match run {
            Ok(0) => {
                trial.failed_checks = 0;
                return trial.watch.see(ContainerStatus::Healthy);
            }
            Ok(code) => format!("the command of its HEALTHCHECK ended with exit code {code}"),
            // Whether the container or the Engine has gone shows at the look that follows.
            Err(error) => format!("the command of its HEALTHCHECK: {error}"),
        };
        trial.failed_checks = trial.failed_checks.saturating_add(1);
        let status = check.failed(trial.failed_checks, trial.watch.since.elapsed(), detail);
        trial.watch.see(status);
    }

    async fn probe(&self, trial: &mut Trial) {
        let Some(probe) = &self.plan().member(trial.number).health.probe else { return };
        match exec::probe::run(self.ports, &trial.id, &trial.document, probe).await {
            Ok(()) => trial.watch.see(ContainerStatus::Healthy),
            Err(detail) => trial.watch.see(ContainerStatus::NotHealthy(detail)),
        }
    }

    /// The cause with what the HEALTHCHECK wrote last, where it wrote something.
    async fn in_full(&self, new: &str, detail: String) -> String {
        /// How much of what a HEALTHCHECK wrote is told, in characters; more would bury the cause.
        const OUTPUT_LENGTH_MAX: usize = 300;
        let document = self.ports.engine().inspect(new).await.ok().flatten().unwrap_or_default();
        let output: String =
            inspect::health_output(&document).chars().take(OUTPUT_LENGTH_MAX).collect();
        let is_told = output.is_empty() || detail.contains(&output);
        if is_told { detail } else { format!("{detail}: {output}") }
    }

    /// An old container that runs again under its parked name was started by the Engine or by a
    /// person: then two of them serve, and the proven one stays.
    pub(super) async fn check_old_containers_stayed_down(&self) -> Result<(), StepError> {
        for number in self.members() {
            if self.look_at_old(number).await?.as_ref().is_some_and(inspect::is_running) {
                let detail = "the old container was started again during the update";
                return Err(StepError::Cause(Cause::interrupted(self.naming(number, detail))));
            }
        }
        Ok(())
    }
}
