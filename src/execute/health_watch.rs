//! What is heard and seen of one new container, from before its start.

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use super::{Trouble, Update};
use crate::core::update::health::{Gate, Sample, Sight};
use crate::engine::{ContainerEvent, Engine};
use crate::ports::Ports;

/// What spoils every verdict.
pub(super) const ENGINE_LOST: &str = "the Engine went away during the verification";

/// An ear on one container.
pub(super) struct Watch {
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

impl Watch {
    /// The watched container was started now.
    pub(super) fn mark_started(&mut self) {
        self.since = Instant::now();
    }

    pub(super) fn see(&mut self, sight: Sight) {
        let at = self.since.elapsed();
        // A long wait repeats itself; only changes say something.
        if self.samples.last().is_none_or(|last| last.sight != sight) {
            self.samples.push(Sample { at, sight });
        }
    }

    /// Hears what the stream has said already, without waiting for more.
    pub(super) fn hear_what_is_ready(&mut self) {
        while let Some(event) = self.events.get_mut().next().now_or_never() {
            match event {
                Some(event) => self.hear(&event),
                None => return self.see(Sight::EngineLost(ENGINE_LOST.into())),
            }
        }
    }

    pub(super) fn hear(&mut self, event: &ContainerEvent) {
        match event {
            ContainerEvent::OutOfMemory => self.out_of_memory = true,
            ContainerEvent::Killed => self.killed = true,
            ContainerEvent::Destroyed => self.see(Sight::Removed),
            ContainerEvent::Died { .. } if self.killed && !self.out_of_memory => {
                self.see(Sight::Stopped);
            }
            ContainerEvent::Died { code } => {
                let out_of_memory = self.out_of_memory;
                self.see(Sight::Exited { code: *code, out_of_memory });
            }
            ContainerEvent::Health(health) => match health.as_str() {
                "healthy" if self.gate == Gate::Healthcheck => self.see(Sight::Well),
                "unhealthy" => self.see(Sight::Unhealthy(String::new())),
                _ => {}
            },
            ContainerEvent::Other(_) => {}
        }
    }
}

impl<P: Ports> Update<'_, P> {
    /// Begins to listen. What happens before the container starts is heard as well.
    pub(super) async fn listen(&self, container: &str) -> Result<Watch, Trouble> {
        let events = self.ports.engine().events(container).await?;
        Ok(Watch {
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
