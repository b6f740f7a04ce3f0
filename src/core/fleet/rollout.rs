//! The rule of a staged rollout: whose verdicts the others wait for, and how many release or stop
//! them.
//!
//! The first places of the ranking are canaries. They go without waiting for others, because their
//! own verification protects them. The others wait until half of the canaries report that the image
//! works. Nothing is ever rolled back because of the verdicts of others.

use std::str::FromStr;
use std::time::Duration;

use crate::core::docker::reference::Digest;
use crate::core::fleet::place::{FleetPlace, Ranking, Roster};
use crate::core::fleet::votes::{RefusedByVotes, Tally};
use crate::core::fleet::waves::Waves;
use crate::core::time::duration::{DurationError, parse_duration};

/// How long a device waits for the canaries if the configuration does not say it.
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// Fewest canaries if places follow from hashes. Their number is random then, and with fewer there
/// is none at all in more than one release in a thousand.
const HASHED_CANARIES_MIN: u32 = 7;

/// Verdicts stop a digest from this share of failures on: one in ten. Below it, the failures are
/// those of single devices, whose own rollback is enough.
const BAD_SHARE: u32 = 10;

/// How long a device waits for the canaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// If the broker was never reachable, the device goes alone after this time. Otherwise it stays
    /// and raises an alarm.
    For(Duration),
    /// The device never goes alone.
    Never,
}

impl Patience {
    /// The time after which a waiting device raises an alarm.
    #[must_use]
    pub const fn alarm(self) -> Duration {
        match self {
            Self::For(time) => time,
            Self::Never => PATIENCE_DEFAULT,
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::For(PATIENCE_DEFAULT)
    }
}

/// Why a text is no patience.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; or write `never`")]
pub struct PatienceError(#[from] DurationError);

impl FromStr for Patience {
    type Err = PatienceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "never" {
            return Ok(Self::Never);
        }
        Ok(Self::For(parse_duration(text)?))
    }
}

/// Why a fleet cannot have a staged rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    #[error(
        "fleet.index is set, but device.name has no number at its end, so other devices cannot \
         tell the place of this one: give all devices one name and a number, like `till-07`"
    )]
    Unnumbered,
    #[error(
        "device.name has no number at its end, so canaries are chosen by chance, and {0} are too \
         few for that: give all devices one name and a number, like `till-07`, or let the first \
         wave reach at least {HASHED_CANARIES_MIN} devices"
    )]
    FewCanaries(u32),
}

/// The place of this device for one digest, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub place: FleetPlace,
    /// Whether the device is one of the canaries.
    pub is_canary: bool,
    /// When its turn is, from the moment at which it first sees the digest.
    pub due: Duration,
}

/// The settings of a staged rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    roster: Roster,
    waves: Waves,
    patience: Patience,
    canaries: u32,
}

impl Rollout {
    /// A staged rollout.
    ///
    /// # Errors
    /// The devices could not tell the places of each other.
    pub fn new(roster: Roster, waves: Waves, patience: Patience) -> Result<Self, RolloutError> {
        let canaries = waves.canaries(roster.size());
        if roster.index().is_some() && !roster.is_numbered() {
            return Err(RolloutError::Unnumbered);
        }
        if roster.index().is_none() && canaries < HASHED_CANARIES_MIN {
            return Err(RolloutError::FewCanaries(canaries));
        }
        Ok(Self { roster, waves, patience, canaries })
    }

    /// The devices of the fleet.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The patience of the settings.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    /// The number of canaries: the devices of the first wave, at least one.
    #[must_use]
    pub const fn canaries(&self) -> u32 {
        self.canaries
    }

    /// So many canaries must report that the image works: half of them, rounded up.
    #[must_use]
    pub const fn ok_needed(&self) -> u32 {
        self.canaries.div_ceil(2)
    }

    /// So many failures stop a digest, if they are a tenth of the tries as well. A single broken
    /// device among many canaries must not stop a good image.
    #[must_use]
    pub const fn bad_needed(&self) -> u32 {
        match self.canaries {
            0..=2 => 1,
            3..=20 => 2,
            21..=50 => 3,
            _ => 5,
        }
    }

    /// Whether the verdicts release the devices after the canaries.
    #[must_use]
    pub const fn is_released(&self, tally: &Tally) -> bool {
        tally.refused.is_none() && tally.ok >= self.ok_needed()
    }

    /// This device's place for a digest.
    #[must_use]
    pub fn standing(&self, digest: &Digest) -> Standing {
        self.standing_in(&self.roster.ranking(digest))
    }

    /// The same, in a ranking that is known already.
    #[must_use]
    pub fn standing_in(&self, ranking: &Ranking) -> Standing {
        let place = self.roster.own_place(ranking);
        Standing { place, is_canary: place.rank < self.canaries, due: self.waves.due(place) }
    }

    /// Whether failures on devices with these ranks, in order, stop a digest that works on `ok`
    /// canaries.
    ///
    /// Of the canaries all verdicts are known. A later device tells only a failure; but devices go
    /// in the order of their ranks, so all ranks between the canaries and a failing device count as
    /// tries. Without them a good image would be stopped in every large fleet: one broken device in
    /// a hundred makes 100 failures among 10,000, against the verdicts of 100 canaries. The rule is
    /// checked at each failing rank in turn, so a further failure never lifts a stop.
    #[must_use]
    pub fn refused(&self, ok: u32, bad_ranks: &[u32]) -> Option<RefusedByVotes> {
        let canaries = bad_ranks.partition_point(|rank| *rank < self.canaries);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let judged = ok + count(canaries);
        let of_canaries = RefusedByVotes { bad: count(canaries), tried: judged };
        let later = bad_ranks.iter().enumerate().skip(canaries).map(|(before, rank)| {
            let tried = judged + (rank - self.canaries) + 1;
            RefusedByVotes { bad: count(before + 1), tried }
        });
        let stops = |it: &RefusedByVotes| {
            it.bad >= self.bad_needed() && it.bad.saturating_mul(BAD_SHARE) >= it.tried
        };
        [of_canaries].into_iter().chain(later).find(stops)
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
