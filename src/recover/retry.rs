//! When an update that could be neither finished nor undone is tried again.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::decide::observation::OpenUpdate;

/// The pause after the first failed try. It doubles with each one.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// The longest pause. A try costs a few calls of the Engine and does no harm, and once its cause is
/// fixed a service that is down should start soon.
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// After so many failed tries an update counts as stuck, and the history says so.
pub const STUCK_AFTER: u32 = 3;

/// What this process knows of an update that it could neither finish nor undo so far.
#[derive(Debug)]
pub(super) struct Failed {
    failures: u32,
    next: Instant,
    is_down: bool,
    why: String,
}

impl Failed {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, next: now, is_down: false, why: String::new() }
    }

    /// Adds a failed try. `is_down` is absent if the Engine does not say.
    pub(super) fn add(&mut self, now: Instant, is_down: Option<bool>, why: String) {
        self.next = now + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.is_down = is_down.unwrap_or(self.is_down);
        self.why = why;
    }

    /// A try begins.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.next = now + pause(self.failures);
    }

    /// Whether this try made it stuck.
    pub(super) const fn has_just_become_stuck(&self) -> bool {
        self.failures == STUCK_AFTER
    }

    /// When it is tried again.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// The state for reports.
    pub(super) fn open(&self) -> OpenUpdate {
        match (self.is_down, self.failures >= STUCK_AFTER) {
            (true, _) => OpenUpdate::Down(self.why.clone()),
            (false, true) => OpenUpdate::Stuck(self.why.clone()),
            (false, false) => OpenUpdate::InFlight,
        }
    }
}

fn pause(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.min(30)).unwrap_or(u32::MAX);
    PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_never_end() {
        let pauses: Vec<_> = (0..8).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }

    #[test]
    fn a_service_that_is_down_is_said_to_be_at_once() {
        let now = Instant::now();
        let mut failed = Failed::new(now);
        failed.add(now, Some(false), "busy".into());
        assert_eq!(failed.open(), OpenUpdate::InFlight);
        failed.add(now, Some(true), "no device".into());
        assert_eq!(failed.open(), OpenUpdate::Down("no device".into()));
        failed.add(now, None, "no answer".into());
        assert_eq!(failed.open(), OpenUpdate::Down("no answer".into()));
        assert!(failed.has_just_become_stuck());
        failed.add(now, Some(false), "busy".into());
        assert_eq!(failed.open(), OpenUpdate::Stuck("busy".into()));
        assert!(!failed.has_just_become_stuck());
    }
}
