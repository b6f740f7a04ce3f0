//! The heartbeat of the loop: when it last ran, and when it plans to run again.
//!
//! It needs no timer. Before the loop rests it records until when, and a health check compares that
//! time with the clock. A loop that hangs in an await never rests, so a health check can tell it
//! from a loop that has nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// No turn is planned: the loop rests until an event wakes it.
const NEVER: u64 = u64::MAX;

/// The heartbeat of the loop.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    origin: Instant,
    /// When the loop must run next, in milliseconds since the origin. While the loop works: the
    /// time of its last beat.
    due: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    /// The heartbeat of a loop that has not started, and is never overdue.
    fn default() -> Self {
        Self { origin: Instant::now(), due: Arc::new(AtomicU64::new(NEVER)) }
    }
}

impl Heartbeat {
    /// Records that the loop works from now on.
    pub fn beat(&self) {
        self.expect(self.origin.elapsed());
    }

    /// Records that the loop rests until this time, or until an event wakes it.
    pub fn rest_until(&self, waking: Option<Instant>) {
        match waking {
            Some(waking) => self.expect(waking.saturating_duration_since(self.origin)),
            None => self.due.store(NEVER, Ordering::Relaxed),
        }
    }

    /// How long the loop is overdue.
    #[must_use]
    pub fn overdue(&self) -> Duration {
        let due = Duration::from_millis(self.due.load(Ordering::Relaxed));
        self.origin.elapsed().saturating_sub(due)
    }

    fn expect(&self, due: Duration) {
        let due = u64::try_from(due.as_millis()).unwrap_or(NEVER);
        self.due.store(due, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_rests_is_not_overdue_and_one_that_hangs_is() {
        let heart = Heartbeat::default();
        tokio::time::sleep(HOUR).await;
        assert_eq!(heart.overdue(), Duration::ZERO, "it has not begun");
        heart.beat();
        tokio::time::sleep(HOUR).await;
        assert_eq!(heart.overdue(), HOUR, "it hangs");
        heart.rest_until(Some(Instant::now() + HOUR));
        tokio::time::sleep(HOUR).await;
        assert_eq!(heart.overdue(), Duration::ZERO, "it rests");
        tokio::time::sleep(HOUR).await;
        assert_eq!(heart.overdue(), HOUR, "it sleeps too long");
        heart.rest_until(None);
        assert_eq!(heart.overdue(), Duration::ZERO, "it waits for what it was told to wait for");
    }
}
