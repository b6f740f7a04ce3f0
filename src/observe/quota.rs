//! What is left of each registry's quota, and who has to wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cache, Scope};
use crate::core::decide::observation::Observation;
use crate::core::decide::quota::{Hold, LOOK_COST, PULL_COST, admitted};
use crate::core::decide::{Decision, MissingFact, decide, question, will_pull};
use crate::core::docker::reference::{Digest, Reference};
use crate::registry::Registry;

/// How many images are remembered to wait; no Pi runs as many. Those that came last are left out,
/// and come back in the next round.
const QUEUE_MAX: usize = 500;

/// An image that counts against a quota: the tag, and what it points at. However many containers
/// wait for it, it counts once.
pub type QuotaRequest = (Reference, Digest);

/// Before it is asked what is behind new digests: a look counts, and so does the pull after it.
/// `name` is the registry that these containers follow.
pub fn before_looks(
    registry: &impl Registry,
    name: &str,
    cache: &mut Arc<Cache>,
    scope: &Scope<'_>,
    observations: &mut [Observation],
) {
    let mut costs: BTreeMap<QuotaRequest, u64> = BTreeMap::new();
    for observation in &mut *observations {
        let is_open = question(observation, scope.circumstances) == MissingFact::Image;
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

/// Before the pulls: the looks have used some of it up.
pub fn before_pulls(
    registry: &impl Registry,
    cache: &Cache,
    scope: &Scope<'_>,
    observations: &mut [Observation],
) {
    let mut costs = BTreeMap::new();
    for observation in &mut *observations {
        let is_pulled = observation.readiness.as_ref().is_none_or(|it| it.is_pulled);
        let decision = decide(observation, scope.circumstances);
        if !is_pulled && matches!(decision, Decision::Update(_) | Decision::HandOver(_)) {
            costs.extend(wanted(observation).map(|wanted| (wanted, PULL_COST)));
        }
    }
    hold(registry, cache, &costs, observations);
}

fn wanted(observation: &Observation) -> Option<QuotaRequest> {
    let reference = observation.reference.as_ref().ok()?.clone();
    Some((reference, observation.offered.digest()?.clone()))
}

/// Holds what the quotas do not suffice for, registry by registry.
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

/// Those that wait for a quota, in the order in which they came.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Queue(Vec<QuotaRequest>);

impl Queue {
    /// Newcomers stand behind those that wait already. A tag that points at something else
    /// meanwhile keeps its place: whoever publishes often must not lose its turn by it. Where
    /// everybody was asked for, what does not wait any more leaves.
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

    /// The place in the queue; whoever never had to wait stands at its end.
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
