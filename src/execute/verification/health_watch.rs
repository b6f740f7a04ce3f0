//! What is heard and seen of one new container, from before its start.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use crate::core::update::health::{ContainerStatus, HealthSource, Sample};
use crate::engine::{ContainerEvent, Engine, EngineError};
use crate::execute::StepError;

/// What spoils every verdict.
pub(super) const ENGINE_LOST: &str = "the Engine went away during the verification";

/// Listens to the events of one container, and keeps what was seen of it.
pub(in crate::execute) struct HealthWatch {
    /// Wrapped, because an update is a task of its own, and tasks may be shared between threads.
    pub(super) events: SyncWrapper<BoxStream<'static, ContainerEvent>>,
    pub(super) source: HealthSource,
    /// The start of the container, by the monotonic clock.
    pub(super) since: Instant,
    /// When the container was last looked at.
    pub(super) looked_at: Instant,
    /// Everything that was seen.
    pub(super) samples: Vec<Sample>,
    out_of_memory: bool,
    killed: bool,
}

impl HealthWatch {
    /// Begins to listen. What happens before the container starts is heard as well.
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

    /// The watched container was started now.
    pub(in crate::execute) fn mark_started(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn see(&mut self, status: ContainerStatus) {
        let at = self.since.elapsed();
        // A long wait repeats itself; only changes say something.
        if self.samples.last().is_none_or(|last| last.status != status) {
            self.samples.push(Sample { at, status });
        }
    }

    /// Takes an event, or the end of the stream, which is the end of the Engine.
    pub(super) fn take(&mut self, event: Option<&ContainerEvent>) {
        match event {
            Some(event) => self.receive(event),
            None => self.see(ContainerStatus::EngineLost(ENGINE_LOST.into())),
        }
    }

    /// Hears what the stream has said already, without waiting for more.
    pub(super) fn hear_what_is_ready(&mut self) {
        while let Some(event) = self.events.get_mut().next().now_or_never() {
            self.take(event.as_ref());
            if event.is_none() {
                return;
            }
        }
    }

    /// Hears what the stream has ready, for a moment at most.
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

/// Whether the Engine is the one that was asked to listen, as far as it can be known without
/// another question, which would only be one more moment in which it may go away.
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
