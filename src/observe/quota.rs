//! What is left of each registry's quota, and which containers must wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cache, Scope};
use crate::core::decide::Decision;
use crate::core::decide::evidence::{Evidence, missing};
use crate::core::decide::observation::Observation;
use crate::core::decide::quota::{
    Hold, LOOK_COST, PULL_COST, admitted, held_by_quota, pulls, will_pull,
};
use crate::core::docker::reference::{Digest, Reference};
use crate::registry::Registry;

/// How many waiting images are remembered; no Pi runs as many. The newest ones are left out, and
/// come again in the next round.
const QUEUE_MAX: usize = 500;

/// An image that counts against a quota: the tag, and the digest it points at. It counts once, for
/// any number of containers.
pub type QuotaRequest = (Reference, Digest);

/// Applies the quota before the manifests of new digests are fetched: the GET of a manifest counts,
/// and so does the pull after it. `name` is the registry that these containers follow.
pub fn before_looks(
    registry: &impl Registry,
    name: &str,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
    observations: &mut [Observation],
) {
    let mut costs: BTreeMap<QuotaRequest, u64> = BTreeMap::new();
    for observation in &mut *observations {
        let is_open = missing(observation, scope.circumstances) == Some(Evidence::OfferedImage);
        let Some(wanted) = wanted(observation).filter(|_| is_open) else { continue };
        let is_known = observation
            .running
            .as_ref()
            .is_ok_and(|running| cache.offer(&wanted.0, &wanted.1, &running.platform).is_some());
        let look = if is_known { 0 } else { LOOK_COST };
        let pull = if will_pull(observation, scope.circumstances) { PULL_COST } else { 0 };
        let cost = costs.entry(wanted).or_default();
        *cost = (*cost).max(look + pull);
    }
    costs.retain(|_, cost| *cost > 0);
    let is_everybody = scope.names.is_none() && scope.except.is_empty();
    cache.queue(name, costs.keys(), is_everybody);
    hold(registry, cache, &costs, observations);
}

/// Applies the quota before the pulls, because the GETs have used some of it. A container that must
/// wait gets another decision.
pub fn before_pulls(
    registry: &impl Registry,
    cache: &Cache,
    scope: &Scope<'_>,
    (observations, decisions): (&mut [Observation], &mut [Decision]),
) {
    let mut costs = BTreeMap::new();
    for (observation, decision) in observations.iter().zip(&*decisions) {
        if pulls(decision, observation) {
            costs.extend(wanted(observation).map(|wanted| (wanted, PULL_COST)));
        }
    }
    if costs.is_empty() {
        return;
    }
    hold(registry, cache, &costs, observations);
    for (observation, decision) in observations.iter().zip(decisions) {
        let decided = std::mem::replace(decision, Decision::UpToDate);
        *decision = held_by_quota(decided, observation, scope.circumstances);
    }
}

fn wanted(observation: &Observation) -> Option<QuotaRequest> {
    let reference = observation.reference.as_ref().ok()?.clone();
    Some((reference, observation.offered.digest()?.clone()))
}

/// Holds the containers for which the quotas are too small, registry by registry.
fn hold(
    registry: &impl Registry,
    cache: &Cache,
    costs: &BTreeMap<QuotaRequest, u64>,
    observations: &mut [Observation],
) {
    for (name, quota) in registry.quotas() {
        let mut due: Vec<_> =
            costs.iter().filter(|((reference, _), _)| reference.registry == name).collect();
        due.sort_by_key(|(wanted, _)| cache.place(wanted));
        let first = admitted(quota.remaining, due.iter().map(|(_, cost)| **cost));
        let waiting: BTreeMap<&QuotaRequest, usize> = due
            .iter()
            .enumerate()
            .skip(first)
            .map(|(place, (wanted, _))| (*wanted, place))
            .collect();
        for observation in &mut *observations {
            let place = wanted(observation).and_then(|wanted| waiting.get(&wanted).copied());
            let held = |before| Box::new(Hold { registry: name.clone(), quota, before });
            observation.hold = place.map(held).or(observation.hold.take());
        }
    }
}

/// The queue for a quota, in the order of arrival.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Queue(Vec<QuotaRequest>);

impl Queue {
    /// Adds new images at the end. A tag that points at another digest now keeps its place, so that
    /// a publisher who pushes often does not lose the place. If all containers were asked for,
    /// images that do not wait any more leave the queue.
    pub fn update<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a QuotaRequest>,
        is_everybody: bool,
    ) {
        let mut waiting: BTreeMap<&Reference, &Digest> =
            waiting.map(|(reference, digest)| (reference, digest)).collect();
        self.0.retain_mut(|(reference, digest)| match waiting.remove(reference) {
            Some(now) => {
                digest.clone_from(now);
                true
            }
            None => !is_everybody,
        });
        let newcomers = waiting.into_iter().take(QUEUE_MAX.saturating_sub(self.0.len()));
        self.0.extend(newcomers.map(|(reference, digest)| (reference.clone(), digest.clone())));
    }

    /// The place in the queue; an image that is not in the queue comes last.
    pub fn place(&self, wanted: &QuotaRequest) -> usize {
        self.0.iter().position(|known| known == wanted).unwrap_or(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> QuotaRequest {
        (name.parse().expect("a reference"), Digest::of(name.as_bytes()))
    }

    #[test]
    fn whoever_came_first_stays_before_whoever_comes_later() {
        let (a, b, c) = (wanted("a"), wanted("b"), wanted("c"));
        let mut queue = Queue::default();
        queue.update([&c].into_iter(), true);
        queue.update([&a, &b, &c].into_iter(), true);
        assert_eq!([&c, &a, &b].map(|it| queue.place(it)), [0, 1, 2]);
        queue.update([&b].into_iter(), false);
        assert_eq!(queue.place(&b), 2, "a round about one of them changes nothing");
        queue.update([&a, &b].into_iter(), true);
        assert_eq!([&a, &b, &c].map(|it| queue.place(it)), [0, 1, 2]);
    }

    #[test]
    fn a_tag_that_moved_keeps_its_place() {
        let (a, b) = (wanted("a"), wanted("b"));
        let mut queue = Queue::default();
        queue.update([&b].into_iter(), true);
        queue.update([&a, &b].into_iter(), true);
        let moved = (b.0.clone(), Digest::of(b"another"));
        queue.update([&a, &moved].into_iter(), true);
        assert_eq!([&moved, &a].map(|it| queue.place(it)), [0, 1]);
    }

    #[test]
    fn a_full_queue_leaves_out_those_that_came_last() {
        let mut queue = Queue::default();
        let old: Vec<_> = (0..QUEUE_MAX).map(|number| wanted(&format!("z{number}"))).collect();
        queue.update(old.iter(), true);
        let newcomer = wanted("a");
        queue.update(old.iter().chain([&newcomer]), true);
        assert!(queue.place(&old[0]) < queue.place(&newcomer));
        assert_eq!(queue.0.len(), QUEUE_MAX);
    }
}
