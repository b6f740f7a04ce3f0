//! When a rule may move bytes: an update of a container goes first, and few blobs move at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::core::decide::snapshot::Snapshot;

/// Most blobs that move at the same time. Each stream needs about a megabyte of memory.
const BLOBS_MAX: usize = 2;

/// Longest time that one blob waits for updates. Longer than the pull of a large image; an update
/// that hangs must not stop the mirror.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// The turns of all rules of one process.
#[derive(Debug, Clone)]
pub struct Turns {
    places: Arc<Semaphore>,
    /// The state of the agent beside the mirror; absent if there is none.
    agent: Option<watch::Receiver<Arc<Snapshot>>>,
}

impl Turns {
    /// Turns beside an agent, or without one.
    #[must_use]
    pub fn new(agent: Option<watch::Receiver<Arc<Snapshot>>>) -> Self {
        Self { places: Arc::new(Semaphore::new(BLOBS_MAX)), agent }
    }

    /// Waits until a blob may move. The place is free again when the answer is dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Some(mut agent) = self.agent.clone() {
            let is_free = |snapshot: &Arc<Snapshot>| !snapshot.is_pulling_or_switching();
            // After the time, or if the agent is ending, the blob moves.
            let _ = timeout(WAIT_MAX, agent.wait_for(is_free)).await;
        }
        // The semaphore is never closed.
        self.places.clone().acquire_owned().await.ok()
    }
}
