//! How long the service was away.

use tokio::time::Instant;

use super::inspector::Inspector;
use crate::engine::Engine;
use crate::host::Host;

/// Begins when this process tells the old container to stop. It is gone with the process: a gap
/// across a power cut cannot be measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServiceGap {
    stopped_at: Option<Instant>,
}

impl ServiceGap {
    /// The old container is told to stop now.
    pub(super) fn begin(&mut self) {
        self.stopped_at = Some(Instant::now());
    }

    /// Whether this process told the old container to stop.
    pub(super) const fn has_begun(self) -> bool {
        self.stopped_at.is_some()
    }

    /// How long it is by now, in milliseconds. A process that did not see the stop goes by the
    /// times that the Engine keeps; `serving` is the container that serves now.
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
