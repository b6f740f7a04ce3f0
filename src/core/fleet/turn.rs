//! Whether it is a device's turn to update to a digest, and what to tell a person if it is not.

use std::time::Duration;

use crate::core::fleet::message::stop::FleetStop;
use crate::core::fleet::rollout::{Patience, Rollout, Standing};
use crate::core::fleet::rollout_progress::RolloutProgress;
use crate::core::fleet::votes::{RefusedByVotes, Tally};
use crate::core::text::shown;
use crate::core::time::duration::format_duration;

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

/// Who stopped an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetStopper {
    /// The verdicts of other devices. It ends with the next digest, or if a person allows this one.
    Verdicts(RefusedByVotes),
    /// An operator.
    Operator { by: Option<String>, why: Option<String> },
}

/// Whether it is a device's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// At this time after the device first saw the digest, if no verdict changes it.
    At(Duration),
    /// The canaries have not reported.
    Waiting {
        ok: u32,
        ok_needed: u32,
        bad: u32,
        /// When the device goes alone, if the broker stays unreachable until then.
        alone_at: Option<Duration>,
        /// It waits longer than its patience: a person should look.
        is_overdue: bool,
    },
    Stopped(FleetStopper),
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
        if let Some(FleetStop { by, why, .. }) = stop {
            let (by, why) = (by.clone(), why.clone());
            return Turn::Stopped(FleetStopper::Operator { by, why });
        }
        if progress.is_allowed() {
            return Turn::Now;
        }
        if let Some(refused) = tally.refused {
            return Turn::Stopped(FleetStopper::Verdicts(refused));
        }
        let elapsed = progress.elapsed();
        let at = |time: Duration| if elapsed >= time { Turn::Now } else { Turn::At(time) };
        if standing.is_canary {
            return at(standing.due);
        }
        let one_by_one = standing.place.share_of(self.roster().spread());
        if let Some(released) = progress.released() {
            return at(standing.due.max(released + RELEASE_PAUSE + one_by_one));
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
        let (ok, bad, ok_needed) = (tally.ok, tally.bad, self.ok_needed());
        Turn::Waiting { ok, ok_needed, bad, alone_at, is_overdue: elapsed >= alarm }
    }
}

impl Turn {
    /// The word for the "no"; `None` if it is the device's turn.
    #[must_use]
    pub const fn hold(&self) -> Option<FleetHold> {
        match self {
            Self::Now => None,
            Self::At(_) | Self::Waiting { .. } => Some(FleetHold::WaitingForCanaries),
            Self::Stopped(FleetStopper::Verdicts(_)) => Some(FleetHold::FleetRefused),
            Self::Stopped(FleetStopper::Operator { .. }) => Some(FleetHold::FleetStopped),
        }
    }

    /// When the device looks again if no message comes, from the moment at which it first saw the
    /// digest. `None` if only a message changes anything.
    #[must_use]
    pub fn next_look(&self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Now => Some(elapsed),
            Self::At(time) => Some(*time),
            Self::Waiting { .. } => Some(elapsed + TURN_INTERVAL),
            Self::Stopped(_) => None,
        }
    }

    /// What a person is told, in one line.
    #[must_use]
    pub fn detail(&self, rollout: &Rollout, standing: &Standing, elapsed: Duration) -> String {
        let (rank, size) = (standing.place.rank + 1, rollout.roster().size());
        let role = if standing.is_canary { " (canary)" } else { "" };
        let place = format!("place {rank} of {size}{role}");
        match self {
            Self::Now => format!("{place}: its turn has come"),
            Self::At(time) => format!("{place}: its turn comes in {}", remaining(*time, elapsed)),
            Self::Waiting { ok, ok_needed, bad, alone_at, is_overdue } => {
                let canaries = rollout.canaries();
                let said = format!(
                    "{place}: of {canaries} canaries {ok} report that the image works, \
                     {ok_needed} are needed; {bad} devices report a failure"
                );
                match (alone_at, is_overdue) {
                    (Some(time), _) => format!(
                        "{said}; the broker is unreachable, so this device goes alone in {}",
                        remaining(*time, elapsed)
                    ),
                    (None, true) => format!("{said}; this takes longer than fleet.patience"),
                    (None, false) => said,
                }
            }
            Self::Stopped(FleetStopper::Verdicts(RefusedByVotes { bad, tried })) => {
                format!("{place}: the image failed on {bad} of {tried} devices that tried it")
            }
            Self::Stopped(FleetStopper::Operator { by, why }) => {
                let by = by.as_ref().map(|by| format!(" by {}", shown(by))).unwrap_or_default();
                let why = why.as_ref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
                format!("the fleet is stopped{by}{why}")
            }
        }
    }
}

/// The time until then, in whole seconds.
fn remaining(time: Duration, elapsed: Duration) -> String {
    format_duration(Duration::from_secs(time.saturating_sub(elapsed).as_secs()))
}
