//! What each registry last said of its quota, as long as it is valid.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;

use crate::core::decide::quota::Quota;

/// Pulls in one window (draft-ietf-httpapi-ratelimit-headers, as Docker Hub sends it).
const LIMIT: &str = "ratelimit-limit";

/// Pulls that are left.
const REMAINING: &str = "ratelimit-remaining";

/// How long a quota without a window is valid: such registries mostly count by the minute.
const WINDOW_DEFAULT: Duration = Duration::from_secs(60);

/// Most registries whose quota is remembered. No Pi asks that many.
const REGISTRIES_MAX: usize = 200;

/// The quotas of all registries.
#[derive(Default)]
pub(in crate::registry) struct Quotas(Mutex<HashMap<String, (Quota, Instant)>>);

impl Quotas {
    /// Remembers the quota in an answer, if there is one, and returns it.
    pub fn record(&self, registry: &str, headers: &HeaderMap, now: Instant) -> Option<Quota> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let quota = Quota::parse(text(LIMIT), text(REMAINING)?)?;
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if quotas.len() >= REGISTRIES_MAX && !quotas.contains_key(registry) {
            return Some(quota);
        }
        quotas.insert(registry.to_owned(), (quota, now));
        Some(quota)
    }

    /// The quotas whose window has not ended yet.
    pub fn known(&self, now: Instant) -> BTreeMap<String, Quota> {
        let quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |(quota, recorded_at): &(Quota, Instant)| {
            now.saturating_duration_since(*recorded_at) < quota.window.unwrap_or(WINDOW_DEFAULT)
        };
        let fresh = quotas.iter().filter(|(_, recorded_at)| is_fresh(recorded_at));
        fresh.map(|(registry, (quota, _))| (registry.clone(), *quota)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(remaining: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(LIMIT, "100;w=21600".parse().expect("a value"));
        headers.insert(REMAINING, remaining.parse().expect("a value"));
        headers
    }

    #[test]
    fn a_quota_is_believed_until_its_window_turns() {
        let (quotas, now) = (Quotas::default(), Instant::now());
        assert_eq!(quotas.record("a", &HeaderMap::new(), now), None);
        quotas.record("a", &headers("0;w=60"), now);
        quotas.record("b", &headers("7"), now);
        let known = |seconds| -> Vec<_> {
            let known = quotas.known(now + Duration::from_secs(seconds));
            known.into_iter().map(|(registry, quota)| (registry, quota.remaining)).collect()
        };
        assert_eq!(known(59), [("a".to_owned(), 0), ("b".to_owned(), 7)]);
        assert_eq!(known(60), [("b".to_owned(), 7)]);
        quotas.record("b", &headers("rubbish"), now);
        assert_eq!(known(60), [("b".to_owned(), 7)], "what makes no sense says nothing");
    }
}
