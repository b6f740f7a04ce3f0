//! What is heard and seen of one new container, from before its start.

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use super::{StepError, Update};
use crate::core::update::health::{ContainerStatus, Gate, Sample};
use crate::engine::{ContainerEvent, Engine};
use crate::ports::Ports;

/// What spoils every verdict.
pub(super) const ENGINE_LOST: &str = "the Engine went away during the verification";

/// An ear on one container.
pub(super) struct HealthWatch {
    /// Wrapped, because an update is a task of its own, and tasks may be shared between threads.
    pub(super) events: SyncWrapper<BoxStream<'static, ContainerEvent>>,
    pub(super) gate: Gate,
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
    /// The watched container was started now.
    pub(super) fn mark_started(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn see(&mut self, status: ContainerStatus) {
        let at = self.since.elapsed();
        // A long wait repeats itself; only changes say something.
        if self.samples.last().is_none_or(|last| last.status != status) {
            self.samples.push(Sample { at, status });
        }
    }

    /// Hears what the stream has said already, without waiting for more.
    pub(super) fn hear_what_is_ready(&mut self) {
        while let Some(event) = self.events.get_mut().next().now_or_never() {
            match event {
                Some(event) => self.receive(&event),
                None => return self.see(ContainerStatus::EngineLost(ENGINE_LOST.into())),
            }
        }
    }

    pub(super) fn receive(&mut self, event: &ContainerEvent) {
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
                "healthy" if self.gate == Gate::Healthcheck => self.see(ContainerStatus::Healthy),
                "unhealthy" => self.see(ContainerStatus::Unhealthy(String::new())),
                _ => {}
            },
            ContainerEvent::Other(_) => {}
        }
    }
}

impl<P: Ports> Update<'_, P> {
    /// Begins to listen. What happens before the container starts is heard as well.
    pub(super) async fn listen(&self, container: &str) -> Result<HealthWatch, StepError> {
        let events = self.ports.engine().events(container).await?;
        Ok(HealthWatch {
            events: SyncWrapper::new(events),
            gate: Gate::Running,
            since: Instant::now(),
            looked_at: Instant::now(),
            samples: Vec::new(),
            out_of_memory: false,
            killed: false,
        })
    }
}
