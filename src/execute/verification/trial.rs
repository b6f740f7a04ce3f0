//! The trial of one new container: the Engine's reports and the probe, until there is a verdict.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::health_watch::HealthWatch;
use crate::core::docker::inspect;
use crate::core::update::health::{
    ContainerStatus, HealthPolicy, HealthSource, HealthVerdict, Sample, verdict,
};
use crate::core::update::plan::Member;
use crate::engine::{Engine, EngineError};
use crate::exec;
use crate::execute::StepError;
use crate::ports::Ports;

/// How often a probe is tried, and how often the agent checks whether a HEALTHCHECK has run again:
/// the Engine sends no event if the result is the same.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two inspects of the container, even if the event stream is open: a
/// stream can be silent because its other end is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// One new container on trial.
pub(in crate::execute) struct Trial<'a> {
    pub(super) number: usize,
    /// The container's ID.
    pub(super) id: String,
    pub(in crate::execute) watch: HealthWatch,
    member: &'a Member,
    /// Its inspect document when the trial began.
    document: Value,
    policy: HealthPolicy,
    /// Whether the result of its HEALTHCHECK may be from before a restart of the Engine.
    may_be_stale: bool,
    /// How many checks in a row have failed that the agent itself ran.
    failed_checks: u32,
}

impl<'a> Trial<'a> {
    /// The trial of a container. Its health policy is read from the created container.
    pub(in crate::execute) async fn begin(
        engine: &impl Engine,
        (number, member): (usize, &'a Member),
        id: String,
        mut watch: HealthWatch,
        may_be_stale: bool,
    ) -> Result<Self, EngineError> {
        let document = engine.inspect(&id).await?.unwrap_or_default();
        let policy = HealthPolicy::of(&member.health, &document);
        watch.source = policy.source;
        Ok(Self { number, id, watch, member, document, policy, may_be_stale, failed_checks: 0 })
    }

    /// The same trial, in which it must stay healthy for this time.
    pub(super) const fn for_as_long_as(mut self, stable: Duration) -> Self {
        self.policy.stable = stable;
        self
    }

    /// Whether its process has ended by itself.
    pub(super) fn has_exited(&self) -> bool {
        let is_exit = |sample: &Sample| matches!(sample.status, ContainerStatus::Exited { .. });
        self.watch.samples.iter().any(is_exit)
    }

    pub(in crate::execute) fn verdict(&self) -> HealthVerdict {
        verdict(&self.policy, &self.watch.samples, self.watch.since.elapsed())
    }

    /// Waits for the first of these: an event, the next probe, the next inspect, or the given time.
    pub(in crate::execute) async fn wait(
        &mut self,
        ports: &impl Ports,
        stop: &CancellationToken,
        until: Duration,
    ) -> Result<(), StepError> {
        let is_probed =
            self.policy.source == HealthSource::Probe || self.policy.own_check.is_some();
        let watch = &mut self.watch;
        let is_unchecked =
            watch.samples.last().is_some_and(|it| it.status == ContainerStatus::Unchecked);
        let pause = if is_probed || is_unchecked { PROBE_INTERVAL } else { LOOK_INTERVAL };
        // Counted from the last inspect: a stream of constant events, such as those of a
        // HEALTHCHECK each second, must not delay the next inspect again and again.
        let next = watch.looked_at + pause;
        let deadline = watch.since.checked_add(until).map_or(next, |until| until.min(next));
        tokio::select! {
            () = stop.cancelled() => Err(StepError::Asked),
            event = watch.events.get_mut().next() => {
                watch.take(event.as_ref());
                Ok(())
            }
            () = tokio::time::sleep_until(deadline) => {
                if is_probed {
                    self.probe(ports).await;
                    self.run_own_check(ports.engine()).await;
                }
                self.look(ports.engine()).await
            }
        }
    }

    /// Inspects the container. This also finds an exit before the first event.
    pub(in crate::execute) async fn look(&mut self, engine: &impl Engine) -> Result<(), StepError> {
        let watch = &mut self.watch;
        watch.looked_at = Instant::now();
        let Some(document) = engine.inspect(&self.id).await? else {
            watch.see(ContainerStatus::Removed);
            return Ok(());
        };
        if !inspect::is_running(&document) {
            // The event stream gives the exact cause, if it is still open; it may lag behind.
            watch.drain().await;
            let code = inspect::exit_code(&document);
            let out_of_memory = inspect::flag(&document, "/State/OOMKilled");
            watch.see(ContainerStatus::Exited { code, out_of_memory });
            return Ok(());
        }
        let is_stale = self.may_be_stale
            && inspect::last_check_at(&document) == inspect::last_check_at(&self.document);
        let output = || inspect::health_output(&document).to_owned();
        match (watch.source, inspect::health(&document)) {
            (HealthSource::Healthcheck, _) if is_stale => watch.see(ContainerStatus::Unchecked),
            (HealthSource::Healthcheck, Some("healthy")) => watch.see(ContainerStatus::Healthy),
            (HealthSource::Healthcheck, Some("unhealthy")) => {
                watch.see(ContainerStatus::Unhealthy(output()))
            }
            // The agent's own run of the check is newer than the Engine's word `starting`.
            (HealthSource::Healthcheck, _) if self.policy.own_check.is_some() => {}
            (HealthSource::Healthcheck, _) if inspect::last_check_at(&document).is_empty() => {
                watch.see(ContainerStatus::NeverChecked);
            }
            (HealthSource::Healthcheck, _) => watch.see(ContainerStatus::NotHealthy(output())),
            (HealthSource::Probe | HealthSource::Running, _) => {}
        }
        Ok(())
    }

    /// Runs the command of a HEALTHCHECK that the Engine runs too seldom for this trial, like the
    /// Engine: in the container, as its user, within the time of one run.
    async fn run_own_check(&mut self, engine: &impl Engine) {
        let Some(check) = &self.policy.own_check else { return };
        let run = engine.exec(&self.id, &check.command, check.timeout).await;
        let detail = match run {
            Ok(0) => {
                self.failed_checks = 0;
                return self.watch.see(ContainerStatus::Healthy);
            }
            Ok(code) => format!("the command of its HEALTHCHECK ended with exit code {code}"),
            // The next inspect shows whether the container or the Engine has gone.
            Err(error) => format!("the command of its HEALTHCHECK: {error}"),
        };
        self.failed_checks = self.failed_checks.saturating_add(1);
        let status = check.failed(self.failed_checks, self.watch.since.elapsed(), detail);
        self.watch.see(status);
    }

    async fn probe(&mut self, ports: &impl Ports) {
        let Some(probe) = &self.member.health.probe else { return };
        match exec::probe::run(ports, &self.id, &self.document, probe).await {
            Ok(()) => self.watch.see(ContainerStatus::Healthy),
            Err(detail) => self.watch.see(ContainerStatus::NotHealthy(detail)),
        }
    }
}
