//! Whether it is a device's turn to update to a digest.

use std::time::Duration;

use crate::core::fleet::message::stop::FleetStop;
use crate::core::fleet::rollout::{Patience, Rollout, Standing};
use crate::core::fleet::rollout_progress::RolloutProgress;
use crate::core::fleet::votes::{RefusedByVotes, Tally};

/// The time between the release by the canaries and the first device after them: late failures of
/// other canaries still stop the rest.
pub const RELEASE_PAUSE: Duration = Duration::from_secs(600);

/// How often a waiting device looks at its turn again if no message comes.
pub const TURN_INTERVAL: Duration = Duration::from_secs(300);

/// The word for a fleet's "no". It is the reason of a held container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FleetHold {
    /// Its turn has not come: by its place, or because the canaries have not reported.
    WaitingForCanaries,
    /// The image failed on other devices.
    FleetRefused,
    /// An operator stopped the fleet.
    FleetStopped,
}

impl FleetHold {
    /// All of them, for documentation and tests.
    pub const ALL: [Self; 3] = [Self::WaitingForCanaries, Self::FleetRefused, Self::FleetStopped];

    /// The word used in the log, metrics, JSON and documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::WaitingForCanaries => "waiting_for_canaries",
            Self::FleetRefused => "fleet_refused",
            Self::FleetStopped => "fleet_stopped",
        }
    }

    /// What the operator can do about it, in one line. NAME stands for the container.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::WaitingForCanaries => {
                "wait for its turn in the rollout; `pilotfish allow NAME` updates this device alone"
            }
            Self::FleetRefused => {
                "push a fixed image; `pilotfish allow NAME` tries this one on this device alone"
            }
            Self::FleetStopped => "lift the stop of the fleet with `pilotfish fleet go`",
        }
    }
}

/// Whether it is a device's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// At this time after the device first saw the digest, if no verdict changes it.
    At(Duration),
    /// The canaries have not reported.
    WaitingForCanaries {
        /// When the device goes alone, if the broker stays unreachable until then.
        alone_at: Option<Duration>,
        /// It waits longer than its patience: a person should look.
        is_overdue: bool,
    },
    /// The verdicts of other devices stop the image. It ends with the next digest, or if a person
    /// allows this one.
    Refused(RefusedByVotes),
    /// An operator stopped the fleet. It ends with the operator's next message.
    Stopped {
        by: Option<String>,
        why: Option<String>,
    },
}

impl Turn {
    /// The turn in a fleet without a staged rollout: only a stop holds it.
    #[must_use]
    pub fn without_stages(stop: Option<&FleetStop>) -> Self {
        stop.map_or(Self::Now, |FleetStop { by, why, .. }| Self::Stopped {
            by: by.clone(),
            why: why.clone(),
        })
    }

    /// The word for the "no"; `None` if it is the device's turn.
    #[must_use]
    pub const fn hold(&self) -> Option<FleetHold> {
        match self {
            Self::Now => None,
            Self::At(_) | Self::WaitingForCanaries { .. } => Some(FleetHold::WaitingForCanaries),
            Self::Refused(_) => Some(FleetHold::FleetRefused),
            Self::Stopped { .. } => Some(FleetHold::FleetStopped),
        }
    }

    /// How long until the device must ask again if no message comes. `None` if only a message
    /// changes anything.
    #[must_use]
    pub fn next_look(&self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::At(time) => Some(time.saturating_sub(elapsed)),
            Self::WaitingForCanaries { alone_at, .. } => {
                let alone = alone_at.map_or(TURN_INTERVAL, |time| time.saturating_sub(elapsed));
                Some(alone.min(TURN_INTERVAL))
            }
            Self::Refused(_) | Self::Stopped { .. } => None,
        }
    }
}

impl Rollout {
    /// Whether it is this device's turn. The stop is the one that concerns the reference.
    ///
    /// Canaries do not wait for verdicts, but a stop holds for them too, so an image that fails
    /// everywhere is tried by few of them. After the release the devices whose turn has passed go
    /// one after the other, as after an announcement.
    #[must_use]
    pub fn turn(
        &self,
        standing: &Standing,
        progress: &RolloutProgress,
        tally: &Tally,
        stop: Option<&FleetStop>,
    ) -> Turn {
        if stop.is_some() || progress.is_allowed() {
            return Turn::without_stages(stop);
        }
        if let Some(refused) = tally.refused {
            return Turn::Refused(refused);
        }
        let elapsed = progress.elapsed();
        let at = |time: Duration| if elapsed >= time { Turn::Now } else { Turn::At(time) };
        if standing.is_canary {
            return at(standing.due);
        }
        let one_by_one = standing.place.share_of(self.roster().spread());
        if let Some(released) = progress.released() {
            let pause = RELEASE_PAUSE + one_by_one;
            return at(standing.due.max(released.saturating_add(pause)));
        }
        if elapsed < standing.due {
            return Turn::At(standing.due);
        }
        let alone_at = match self.patience() {
            Patience::For(time) if !progress.is_connected_once() => {
                Some(standing.due.saturating_add(time).saturating_add(one_by_one))
            }
            Patience::For(_) | Patience::Never => None,
        };
        if alone_at.is_some_and(|time| elapsed >= time) {
            return Turn::Now;
        }
        let alarm = standing.due.saturating_add(self.patience().alarm());
        Turn::WaitingForCanaries { alone_at, is_overdue: elapsed >= alarm }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
