//! The rollouts under way, as the rows of all devices show them.

use std::collections::BTreeMap;

use crate::core::decide::reason::Reason;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::message::row::SubjectState;
use crate::core::fleet::overview::FleetOverview;
use crate::core::fleet::topic::whole_name;

/// One digest of a reference that has more than one in the fleet.
///
/// No row says which of the digests is the newer one. The newer one is that for which devices wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutOverview {
    /// `docker.io/library/nginx:latest`.
    pub reference: String,
    pub digest: Digest,
    pub counts: RolloutCounts,
    /// Whether the stop that is in force concerns the reference.
    pub is_stopped: bool,
}

/// How many containers and services there are for a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolloutCounts {
    /// They run it.
    pub runs: usize,
    /// An update to it is in flight.
    pub updating: usize,
    /// It is offered to them.
    pub waiting: usize,
    /// It is offered to them, and they or the fleet refuse it.
    pub refused: usize,
    /// Devices whose verdict is that it works.
    pub ok: usize,
    /// Devices whose verdict is that it failed.
    pub bad: usize,
}

impl RolloutCounts {
    /// For how many it is not the running digest.
    const fn others(&self) -> usize {
        self.updating + self.waiting + self.refused
    }
}

/// The digests of one reference.
struct RolloutDigests {
    reference: Reference,
    by_digest: BTreeMap<Digest, RolloutCounts>,
}

impl RolloutDigests {
    fn note(&mut self, state: &SubjectState) {
        if let Some(running) = &state.running {
            self.by_digest.entry(running.clone()).or_default().runs += 1;
        }
        let Some(offered) = state.offered.as_ref().filter(|it| state.running.as_ref() != Some(it))
        else {
            return;
        };
        let counts = self.by_digest.entry(offered.clone()).or_default();
        let refusals = [Reason::RefusedDigest, Reason::FleetRefused].map(Reason::word);
        let is_refused = state.reason.as_deref().is_some_and(|it| refusals.contains(&it));
        *match (state.busy, is_refused) {
            (true, _) => &mut counts.updating,
            (false, true) => &mut counts.refused,
            (false, false) => &mut counts.waiting,
        } += 1;
    }

    fn containers(&self) -> usize {
        self.by_digest.values().map(|it| it.runs).sum()
    }
}

impl FleetOverview {
    /// The references with more than one digest, those of most containers first; of each first the
    /// digest that most containers do not run yet.
    #[must_use]
    pub fn rollouts(&self) -> Vec<RolloutOverview> {
        let mut all = self.digests();
        all.retain(|_, digests| digests.by_digest.len() > 1);
        self.count_verdicts(&mut all);
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(_, digests)| std::cmp::Reverse(digests.containers()));
        all.into_iter().flat_map(|(name, digests)| self.rows(&name, digests)).collect()
    }

    fn digests(&self) -> BTreeMap<String, RolloutDigests> {
        let mut all = BTreeMap::new();
        for state in self.devices().into_iter().flat_map(|(_, device)| device.subjects.values()) {
            let Ok(reference) = state.image.parse::<Reference>() else { continue };
            let name = whole_name(&reference).filter(|_| reference.digest.is_none());
            let Some(name) = name else { continue };
            let new = || RolloutDigests { reference, by_digest: BTreeMap::new() };
            all.entry(name).or_insert_with(new).note(state);
        }
        all
    }

    /// A digest that no container runs or is offered is over, and so are its verdicts.
    fn count_verdicts(&self, all: &mut BTreeMap<String, RolloutDigests>) {
        for verdict in self.devices().into_iter().flat_map(|(_, device)| device.verdicts.values()) {
            let digests = whole_name(&verdict.reference).and_then(|name| all.get_mut(&name));
            if let Some(counts) = digests.and_then(|it| it.by_digest.get_mut(&verdict.digest)) {
                *if verdict.ok { &mut counts.ok } else { &mut counts.bad } += 1;
            }
        }
    }

    fn rows(
        &self,
        name: &str,
        RolloutDigests { reference, by_digest }: RolloutDigests,
    ) -> Vec<RolloutOverview> {
        let is_stopped = self.stop().is_some_and(|stop| stop.concerns(&reference));
        let mut rows: Vec<_> = by_digest
            .into_iter()
            .map(|(digest, counts)| RolloutOverview {
                reference: name.to_owned(),
                digest,
                counts,
                is_stopped,
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.counts.others(), row.counts.runs)));
        rows
    }
}
