//! The verdicts of other devices for one reference, and what they say together.

use std::collections::BTreeMap;

use crate::core::docker::reference::Digest;
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::rollout::Rollout;

/// The last verdict of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Vote {
    digest: Digest,
    ok: bool,
    /// The device's rank for this digest.
    rank: u32,
}

/// The verdicts of the devices for one reference. Each device has one, as it has one topic.
///
/// Verdicts for other digests are kept as well, because retained ones may arrive before this device
/// sees the digest. There are never more than the fleet has devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Votes {
    by_device: BTreeMap<DeviceName, Vote>,
}

/// Why the verdicts stop a digest: so many devices of those that tried it report a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedByVotes {
    pub bad: u32,
    /// The number of devices that tried it; an estimate after the canaries.
    pub tried: u32,
}

/// What the verdicts say about one digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Canaries on which the image works.
    pub ok: u32,
    /// Devices on which the image failed.
    pub bad: u32,
    /// Set if the verdicts stop the digest.
    pub refused: Option<RefusedByVotes>,
}

impl Votes {
    /// Takes the verdict of a device, in place of its earlier one. Returns whether it counts.
    ///
    /// It counts only if the name is one of the fleet. `ok` counts only from a canary of the
    /// digest, so neither a bridge nor a late device can vote an image through. In a fleet without
    /// numbers every name is one of the fleet; only the broker's rights keep a bridge out there.
    pub fn note(&mut self, rollout: &Rollout, device: &DeviceName, verdict: &FleetVerdict) -> bool {
        self.by_device.remove(device);
        let roster = rollout.roster();
        let ranking = roster.ranking(&verdict.digest);
        let Some(place) = roster.place_of(device, &ranking) else { return false };
        let is_canary = place.rank < rollout.canaries();
        let is_full = self.by_device.len() >= roster.size() as usize;
        if (verdict.ok && !is_canary) || is_full {
            return false;
        }
        let digest = self.shared(&verdict.digest);
        let vote = Vote { digest, ok: verdict.ok, rank: place.rank };
        self.by_device.insert(device.clone(), vote);
        true
    }

    /// Forgets the verdict of a device, whose retained message was removed.
    pub fn withdraw(&mut self, device: &DeviceName) {
        self.by_device.remove(device);
    }

    /// The digest with the text of a verdict that is here already: all canaries tell the same.
    fn shared(&self, digest: &Digest) -> Digest {
        let known = self.by_device.values().map(|vote| &vote.digest).find(|it| *it == digest);
        known.unwrap_or(digest).clone()
    }

    /// What the verdicts say about a digest. The order in which they came does not matter.
    ///
    /// `pi-1` and `pi-01` are one place, so they have one vote for each of the two words.
    #[must_use]
    pub fn tally(&self, rollout: &Rollout, digest: &Digest) -> Tally {
        let ranks = |is_ok: bool| {
            let votes = self.by_device.values().filter(|it| it.ok == is_ok && it.digest == *digest);
            let mut ranks: Vec<u32> = votes.map(|vote| vote.rank).collect();
            ranks.sort_unstable();
            if rollout.roster().is_numbered() {
                ranks.dedup();
            }
            ranks
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (ok, bad_ranks) = (count(ranks(true).len()), ranks(false));
        let refused = rollout.refused(ok, &bad_ranks);
        Tally { ok, bad: count(bad_ranks.len()), refused }
    }
}

#[cfg(test)]
#[path = "votes_tests.rs"]
mod tests;
