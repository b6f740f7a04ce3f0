//! The offered digests of a group must have stood still before it is updated: a CI pushes the
//! images of one release one after another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::docker::reference::Digest;

/// How long the digests must have stood still if no label says it.
pub const SETTLE_DEFAULT: Duration = Duration::from_secs(60);

/// The offered digests, by container.
pub type OfferedDigests = BTreeMap<String, Digest>;

/// One set of digests, and since when it is offered.
#[derive(Debug, Clone)]
struct SettlingOffers {
    offers: OfferedDigests,
    since: Duration,
}

/// Since when each group is offered the same digests. It is kept in memory only: after a restart
/// of the agent the time begins again.
///
/// All times are those of one clock that never jumps, as the time since some moment before.
#[derive(Debug, Clone, Default)]
pub struct SettleClock {
    seen: BTreeMap<String, SettlingOffers>,
}

impl SettleClock {
    /// How long the digests must still stand still; `None`: long enough. Takes note of them.
    pub fn remaining(
        &mut self,
        group: &str,
        offers: OfferedDigests,
        settle: Duration,
        now: Duration,
    ) -> Option<Duration> {
        let since = match self.seen.get(group) {
            Some(seen) if seen.offers == offers => seen.since,
            _ => now,
        };
        self.seen.insert(group.to_owned(), SettlingOffers { offers, since });
        settle.checked_sub(now.saturating_sub(since)).filter(|rest| !rest.is_zero())
    }

    /// Forgets groups that are gone.
    pub fn retain(&mut self, groups: &BTreeSet<String>) {
        self.seen.retain(|group, _| groups.contains(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(pairs: &[(&str, &str)]) -> OfferedDigests {
        let digest = |text: &str| Digest::of(text.as_bytes());
        pairs.iter().map(|(name, text)| ((*name).to_owned(), digest(text))).collect()
    }

    #[test]
    fn every_new_digest_begins_the_time_again() {
        let seconds = Duration::from_secs;
        let mut clock = SettleClock::default();
        let mut rest = |pairs: &[(&str, &str)], now: u64| {
            clock.remaining("shop", offers(pairs), seconds(60), seconds(now)).map(|it| it.as_secs())
        };
        assert_eq!(rest(&[("api", "2")], 100), Some(60));
        assert_eq!(rest(&[("api", "2")], 130), Some(30));
        // The second image of the release arrives, and then a third.
        assert_eq!(rest(&[("api", "2"), ("web", "2")], 140), Some(60));
        assert_eq!(rest(&[("api", "3"), ("web", "2")], 199), Some(60));
        assert_eq!(rest(&[("api", "3"), ("web", "2")], 258), Some(1));
        assert_eq!(rest(&[("api", "3"), ("web", "2")], 259), None);
        assert_eq!(rest(&[("api", "3"), ("web", "2")], 900), None);
    }

    #[test]
    fn groups_have_their_own_times_and_are_forgotten() {
        let seconds = Duration::from_secs;
        let mut clock = SettleClock::default();
        assert!(clock.remaining("shop", offers(&[("api", "2")]), seconds(9), seconds(0)).is_some());
        assert!(clock.remaining("blog", offers(&[("web", "2")]), seconds(9), seconds(5)).is_some());
        assert!(clock.remaining("shop", offers(&[("api", "2")]), seconds(9), seconds(9)).is_none());
        assert!(clock.remaining("blog", offers(&[("web", "2")]), seconds(0), seconds(9)).is_none());
        clock.retain(&BTreeSet::from(["blog".to_owned()]));
        assert!(clock.remaining("shop", offers(&[("api", "2")]), seconds(9), seconds(9)).is_some());
    }
}
