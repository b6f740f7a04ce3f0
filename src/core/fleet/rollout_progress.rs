//! How far a device is with one digest, in times that no clock can make shorter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::fleet::rollout::Rollout;
use crate::core::fleet::turn::Turn;
use crate::core::fleet::votes::Tally;

/// The time that may pass before it is written to disk again. After a power cut the device is late
/// by at most this time, and a device that waits for a week writes once an hour.
const SAVE_INTERVAL: Duration = Duration::from_secs(3600);

/// How far a device is with one digest.
///
/// All times count from the moment at which the device first saw the digest, by its monotonic
/// clock. A device without a clock, or one that was off, is late and never early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    pub digest: Digest,
    #[serde(rename = "elapsed_seconds", with = "whole_seconds")]
    elapsed: Duration,
    /// When the verdicts of the canaries first released the others. It stays, so that neither a
    /// restart nor a broker that loses its memory starts the wait again.
    #[serde(rename = "released_seconds", default, with = "optional_whole_seconds")]
    released: Option<Duration>,
    /// Whether the broker was reachable at any time.
    #[serde(default)]
    is_connected_once: bool,
    /// Whether a person allowed the digest on this device.
    #[serde(default)]
    is_allowed: bool,
    /// Whether the time that passes still changes this device's turn.
    #[serde(skip)]
    is_counting: bool,
    /// The time on disk; `None` if something else changed since.
    #[serde(skip)]
    saved: Option<Duration>,
}

impl RolloutProgress {
    /// The device sees a digest for the first time.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self {
            digest,
            elapsed: Duration::ZERO,
            released: None,
            is_connected_once: false,
            is_allowed: false,
            is_counting: true,
            saved: None,
        }
    }

    /// Time has passed by the monotonic clock.
    pub fn advance(&mut self, by: Duration) {
        self.elapsed = self.elapsed.saturating_add(by);
    }

    /// Takes what the verdicts say now.
    pub fn note(&mut self, rollout: &Rollout, tally: &Tally) {
        if self.released.is_none() && rollout.is_released(tally) {
            self.released = Some(self.elapsed);
            self.saved = None;
        }
    }

    /// Takes the turn that follows. After it has come, or while a message must come first, the
    /// time is not written any more: a round without news writes nothing.
    pub const fn note_turn(&mut self, turn: &Turn) {
        let is_counting = match turn {
            Turn::At(_) => true,
            Turn::WaitingForCanaries { is_overdue, .. } => !*is_overdue,
            Turn::Now | Turn::Refused(_) | Turn::Stopped { .. } => false,
        };
        if self.is_counting && !is_counting {
            self.saved = None;
        }
        self.is_counting = is_counting;
    }

    /// The broker is reachable.
    pub fn note_connected(&mut self) {
        if !self.is_connected_once {
            self.is_connected_once = true;
            self.saved = None;
        }
    }

    /// A person allows the digest on this device. The verdicts of others do not matter then.
    pub fn allow(&mut self) {
        self.is_allowed = true;
        self.saved = None;
    }

    /// The time since the device first saw the digest.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// When the verdicts of the canaries released the others.
    #[must_use]
    pub const fn released(&self) -> Option<Duration> {
        self.released
    }

    /// Whether the broker was reachable at any time since the device first saw the digest.
    #[must_use]
    pub const fn is_connected_once(&self) -> bool {
        self.is_connected_once
    }

    /// Whether a person allowed the digest on this device.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Whether it must be written to disk: after each change, and once an hour while it counts.
    #[must_use]
    pub fn must_be_saved(&self) -> bool {
        let is_old = |saved| self.elapsed.saturating_sub(saved) >= SAVE_INTERVAL;
        self.saved.is_none_or(|saved| self.is_counting && is_old(saved))
    }

    /// It was written to disk, or read from there.
    pub fn note_saved(&mut self) {
        self.saved = Some(self.elapsed);
    }
}

/// A time as whole seconds, rounded down.
pub(super) mod whole_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// For `#[serde(with)]`.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_secs())
    }

    /// For `#[serde(with)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

/// The same, rounded up: the wait after a release is never shorter than planned.
mod optional_whole_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// For `#[serde(with)]`.
    pub fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)).serialize(serializer)
    }

    /// For `#[serde(with)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_disk_is_never_more_than_the_time_that_passed() {
        let mut progress = RolloutProgress::new(Digest::of(b"x"));
        progress.advance(Duration::from_millis(1900));
        progress.released = Some(Duration::from_millis(1100));
        let json = serde_json::to_value(&progress).expect("JSON");
        assert_eq!((&json["elapsed_seconds"], &json["released_seconds"]), (&1.into(), &2.into()));
        let read: RolloutProgress = serde_json::from_value(json).expect("a progress");
        assert_eq!(read.elapsed(), Duration::from_secs(1));
        assert_eq!(read.released(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn it_is_saved_after_a_change_and_once_an_hour() {
        let mut progress = RolloutProgress::new(Digest::of(b"x"));
        assert!(progress.must_be_saved());
        progress.note_saved();
        progress.advance(SAVE_INTERVAL - Duration::from_secs(1));
        assert!(!progress.must_be_saved());
        progress.advance(Duration::from_secs(1));
        assert!(progress.must_be_saved());
        progress.note_saved();
        progress.note_connected();
        assert!(progress.must_be_saved() && progress.is_connected_once());
        progress.note_saved();
        progress.note_connected();
        assert!(!progress.must_be_saved());
        progress.allow();
        assert!(progress.must_be_saved() && progress.is_allowed());
        progress.note_saved();
        progress.note_turn(&Turn::At(SAVE_INTERVAL * 3));
        assert!(!progress.must_be_saved());
        progress.note_turn(&Turn::Now);
        assert!(progress.must_be_saved(), "the time at which the turn came");
        progress.note_saved();
        progress.advance(SAVE_INTERVAL * 100);
        progress.note_turn(&Turn::Now);
        assert!(!progress.must_be_saved(), "a round without news writes nothing");
    }
}
