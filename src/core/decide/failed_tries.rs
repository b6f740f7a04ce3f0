//! Failed tries that say nothing about the image: a pull that breaks, a disk without room, a port
//! in use. Each is repeated after a longer pause.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;

/// The pause after the first try that failed before anything was stopped. It doubles with each try.
const PAUSE_MIN: TimeDelta = TimeDelta::minutes(1);

/// The same if the service was stopped for the try, because each such try is an outage.
const PAUSE_AFTER_AN_OUTAGE_MIN: TimeDelta = TimeDelta::minutes(15);

/// The longest pause. Once the cause is fixed, the next try comes within a day.
const PAUSE_MAX: TimeDelta = TimeDelta::days(1);

/// One failed try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTry {
    /// The image's manifest for this platform.
    pub manifest: Digest,
    /// All digests that identify the image, its manifest included.
    pub digests: BTreeSet<Digest>,
    /// The ID of the container that was to be replaced. A container created since then may have
    /// what was missing.
    pub container_id: String,
    pub at: DateTime<Utc>,
    pub was_outage: bool,
    pub detail: String,
}

/// All tries so far of one image for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// All digests that identify the image.
    pub digests: BTreeSet<Digest>,
    pub container_id: String,
    pub count: u32,
    /// How many of them stopped the service.
    #[serde(default)]
    pub outages: u32,
    /// Time of the last one.
    pub at: DateTime<Utc>,
    pub detail: String,
}

impl Failing {
    /// The first try of an image.
    #[must_use]
    pub fn first(failed: FailedTry) -> Self {
        let FailedTry { digests, container_id, at, was_outage, detail, .. } = failed;
        Self { digests, container_id, count: 1, outages: u32::from(was_outage), at, detail }
    }

    /// Whether a failed try is of the same image for the same container.
    #[must_use]
    pub fn is_of(&self, failed: &FailedTry) -> bool {
        self.container_id == failed.container_id && !self.digests.is_disjoint(&failed.digests)
    }

    /// One more try of the same image.
    pub fn add(&mut self, failed: FailedTry) {
        self.count = self.count.saturating_add(1);
        self.outages = self.outages.saturating_add(u32::from(failed.was_outage));
        self.digests.extend(failed.digests);
        (self.at, self.detail) = (failed.at, failed.detail);
    }

    /// When the next try is due. If the clock was set back since the last try, the next one is due
    /// at once: a Pi without a clock of its own must not wait for a time that was wrong.
    #[must_use]
    pub fn next_try(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.at.checked_add_signed(self.pause())?;
        (now >= self.at && now < next).then_some(next)
    }

    fn pause(&self) -> TimeDelta {
        let (least, count) = match self.outages {
            0 => (PAUSE_MIN, self.count),
            outages => (PAUSE_AFTER_AN_OUTAGE_MIN, outages),
        };
        let factor = 1_i32.checked_shl(count.saturating_sub(1).min(30)).unwrap_or(i32::MAX);
        least.checked_mul(factor).map_or(PAUSE_MAX, |pause| pause.min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(was_outage: bool, minute: i64) -> FailedTry {
        FailedTry {
            manifest: Digest::of(b"v2"),
            digests: BTreeSet::from([Digest::of(b"v2")]),
            container_id: "1".into(),
            at: DateTime::UNIX_EPOCH + TimeDelta::minutes(minute),
            was_outage,
            detail: "the pull failed".into(),
        }
    }

    fn pauses(was_outage: bool) -> Vec<i64> {
        let mut failing = Failing::first(failed(was_outage, 0));
        let mut pauses = Vec::new();
        for _ in 0..13 {
            let next = failing.next_try(failing.at).expect("a pause");
            pauses.push((next - failing.at).num_minutes());
            failing.add(failed(was_outage, next.timestamp() / 60));
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_a_day() {
        let before = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440];
        assert_eq!(pauses(false), before);
        let outages = [15, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440, 1440, 1440, 1440];
        assert_eq!(pauses(true), outages);
    }

    #[test]
    fn a_thousand_tries_do_not_overflow() {
        let mut failing = Failing::first(failed(true, 0));
        failing.count = u32::MAX;
        failing.outages = u32::MAX;
        failing.add(failed(true, 0));
        assert_eq!(failing.next_try(failing.at), Some(failing.at + PAUSE_MAX));
    }

    #[test]
    fn the_next_try_is_due_after_the_pause_or_where_the_clock_was_put_back() {
        let failing = Failing::first(failed(false, 10));
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        assert_eq!(failing.next_try(at(10)), Some(at(11)));
        assert_eq!(failing.next_try(at(11)), None);
        assert_eq!(failing.next_try(at(9)), None);
    }

    #[test]
    fn a_container_that_was_created_anew_begins_anew() {
        let failing = Failing::first(failed(false, 0));
        assert!(failing.is_of(&failed(true, 5)));
        assert!(!failing.is_of(&FailedTry { container_id: "2".into(), ..failed(false, 5) }));
        let other = BTreeSet::from([Digest::of(b"v3")]);
        assert!(!failing.is_of(&FailedTry { digests: other, ..failed(false, 5) }));
    }
}
