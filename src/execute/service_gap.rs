//! Measures how long the service was down.

use tokio::time::Instant;

use super::inspector::Inspector;
use crate::engine::Engine;
use crate::host::Host;

/// Begins when this process stops the old container. A gap across a power cut cannot be measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServiceGap {
    stopped_at: Option<Instant>,
}

impl ServiceGap {
    /// Begins the gap: the old container is stopped now.
    pub(super) fn begin(&mut self) {
        self.stopped_at = self.stopped_at.or_else(|| Some(Instant::now()));
    }

    /// Whether this process stopped the old container.
    pub(super) const fn has_begun(self) -> bool {
        self.stopped_at.is_some()
    }

    /// The length so far, in milliseconds. A process that did not stop the container itself uses
    /// the Engine's times; `serving` is the container that serves now.
    pub(super) async fn milliseconds(
        self,
        inspector: Inspector<'_, impl Engine>,
        host: &impl Host,
        serving: &str,
    ) -> Option<u64> {
        match self.stopped_at {
            Some(at) => u64::try_from(at.elapsed().as_millis()).ok(),
            None => inspector.gap_from_engine_times(&host.boot_id(), serving).await,
        }
    }
}
