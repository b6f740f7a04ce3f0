//! The events and observations of one new container, from before its start.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use crate::core::update::health::{ContainerStatus, HealthSource, Sample};
use crate::engine::{ContainerEvent, Engine, EngineError};
use crate::execute::StepError;

/// The Engine restarted, or its events were lost; no verdict counts then.
pub(super) const ENGINE_LOST: &str = "the Engine went away during the verification";

/// Listens to the events of one container, and keeps its observations.
pub(in crate::execute) struct HealthWatch {
    /// Wrapped, because each update is a task, and a task may be shared between threads.
    pub(super) events: SyncWrapper<BoxStream<'static, ContainerEvent>>,
    pub(super) source: HealthSource,
    /// When the container was started, by the monotonic clock.
    pub(super) since: Instant,
    /// When the container was last inspected.
    pub(super) looked_at: Instant,
    /// All observations.
    pub(super) samples: Vec<Sample>,
    out_of_memory: bool,
    killed: bool,
}

impl HealthWatch {
    /// Begins to listen, before the container starts.
    pub(in crate::execute) async fn begin(
        engine: &impl Engine,
        container: &str,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            events: SyncWrapper::new(engine.events(container).await?),
            source: HealthSource::Running,
            since: Instant::now(),
            looked_at: Instant::now(),
            samples: Vec::new(),
            out_of_memory: false,
            killed: false,
        })
    }

    /// Records that the container was started now.
    pub(in crate::execute) fn mark_started(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn see(&mut self, status: ContainerStatus) {
        let at = self.since.elapsed();
        // Repeated observations during a long wait are not logged; only changes are.
        if self.samples.last().is_none_or(|last| last.status != status) {
            self.samples.push(Sample { at, status });
        }
    }

    /// Handles an event, or the end of the stream, which is the end of the Engine.
    pub(super) fn take(&mut self, event: Option<&ContainerEvent>) {
        match event {
            Some(event) => self.receive(event),
            None => self.see(ContainerStatus::EngineLost(ENGINE_LOST.into())),
        }
    }

    /// Handles the events that have already arrived, without waiting for more.
    pub(in crate::execute) fn hear_what_is_ready(&mut self) {
        while let Some(event) = self.events.get_mut().next().now_or_never() {
            self.take(event.as_ref());
            if event.is_none() {
                return;
            }
        }
    }

    /// Handles the events that are ready, for a moment at most.
    pub(super) async fn drain(&mut self) {
        const MOMENT: Duration = Duration::from_millis(200);
        while let Ok(event) = tokio::time::timeout(MOMENT, self.events.get_mut().next()).await {
            self.take(event.as_ref());
            if event.is_none() {
                return;
            }
        }
    }

    fn receive(&mut self, event: &ContainerEvent) {
        match event {
            ContainerEvent::OutOfMemory => self.out_of_memory = true,
            ContainerEvent::Killed => self.killed = true,
            ContainerEvent::Destroyed => self.see(ContainerStatus::Removed),
            ContainerEvent::Died { .. } if self.killed && !self.out_of_memory => {
                self.see(ContainerStatus::Stopped);
            }
            ContainerEvent::Died { code } => {
                let out_of_memory = self.out_of_memory;
                self.see(ContainerStatus::Exited { code: *code, out_of_memory });
            }
            ContainerEvent::Health(health) => match health.as_str() {
                "healthy" if self.source == HealthSource::Healthcheck => {
                    self.see(ContainerStatus::Healthy)
                }
                "unhealthy" => self.see(ContainerStatus::Unhealthy(String::new())),
                _ => {}
            },
            ContainerEvent::Other(_) => {}
        }
    }
}

/// Whether the Engine did not restart since the stream was opened, as far as this is known without
/// another question: during the question it could go away as well.
pub(in crate::execute) fn check_streams_are_open(
    watches: &mut [HealthWatch],
) -> Result<(), StepError> {
    for watch in watches {
        watch.hear_what_is_ready();
        let is_lost = |sample: &Sample| matches!(sample.status, ContainerStatus::EngineLost(_));
        if watch.samples.iter().any(is_lost) {
            return Err(StepError::Spoilt(ENGINE_LOST.into()));
        }
    }
    Ok(())
}
