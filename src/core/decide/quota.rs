//! A registry's quota, and which containers may use what is left of it.
//!
//! On Docker Hub a `HEAD` request is free, but a `GET` of a manifest counts. So finding out what a
//! new digest leads to counts once, and the Engine's pull counts once. All devices behind one
//! router share a quota, so Pilotfish plans with what is left, and never runs into the limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::duration::format_duration;

/// Cost of one lookup behind a digest: up to two `GET`s of manifests are one pull (Docker's
/// documentation, "Pull usage and limits").
pub const LOOK_COST: u64 = 1;

/// Cost of a pull by the Engine, by the same rule.
pub const PULL_COST: u64 = 1;

/// Longest window that is believed. Docker Hub's is six hours; a mistake of a server must not hold
/// images for weeks.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Shortest window: a window of no length would end while it is used.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// What a registry last said of the quota of this address or login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Pulls in one window, if the registry says it.
    pub limit: Option<u64>,
    /// Pulls that are left.
    pub remaining: u64,
    /// The length of the window, if the registry says it.
    pub window: Option<Duration>,
}

impl Quota {
    /// Reads `RateLimit-Limit` and `RateLimit-Remaining`, each such as `100;w=21600`: pulls, and
    /// the seconds of the window. `None` if no number says what is left.
    #[must_use]
    pub fn parse(limit: Option<&str>, remaining: &str) -> Option<Self> {
        let (left, its_window) = parse_item(remaining)?;
        let limit = limit.and_then(parse_item);
        let window = its_window.or_else(|| limit.and_then(|(_, window)| window));
        Some(Self { limit: limit.map(|(count, _)| count), remaining: left, window })
    }

    /// For people: `76 of 100 pulls left, per 6h`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let of = self.limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let per = self.window.map(|window| format!(", per {}", format_duration(window)));
        format!("{}{of} pulls left{}", self.remaining, per.unwrap_or_default())
    }
}

/// `100;w=21600`: a number, and the window among its parameters.
fn parse_item(text: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = text.split(';').map(str::trim);
    let count = parts.next()?.parse().ok()?;
    let seconds = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    let window = |seconds| Duration::from_secs(seconds).clamp(WINDOW_MIN, WINDOW_MAX);
    Some((count, seconds.map(window)))
}

/// Why a container waits for its registry's quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub registry: String,
    pub quota: Quota,
    /// How many images wait before this one.
    pub before: usize,
}

impl Hold {
    /// One sentence for people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { registry, quota, before } = self;
        let before = match before {
            0 => String::new(),
            1 => "; 1 other image goes first".to_owned(),
            several => format!("; {several} other images go first"),
        };
        format!("{registry} has {}{before}", quota.in_words())
    }
}

/// How many of the waiting containers may continue. `costs` are in the order of waiting, the
/// longest first. A container that does not fit holds up all containers behind it; otherwise
/// cheaper ones would always overtake an expensive one.
#[must_use]
pub fn admitted(remaining: u64, costs: impl IntoIterator<Item = u64>) -> usize {
    let mut left = remaining;
    let fits = |cost: &u64| {
        let rest = left.checked_sub(*cost);
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    costs.into_iter().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_registries_in_the_field() {
        let read = |limit: Option<&str>, remaining: &str| {
            let quota = Quota::parse(limit, remaining)?;
            Some((quota.limit, quota.remaining, quota.window.map(|window| window.as_secs())))
        };
        let hub = read(Some("100;w=21600"), "76;w=21600");
        assert_eq!(hub, Some((Some(100), 76, Some(21600))));
        assert_eq!(read(None, "0"), Some((None, 0, None)));
        assert_eq!(read(Some("100; w=60"), " 7 "), Some((Some(100), 7, Some(60))));
        assert_eq!(read(Some("all"), "7; burst=1; w=x"), Some((None, 7, None)));
        assert_eq!(read(None, "0;w=18446744073709551615"), Some((None, 0, Some(86_400))));
        assert_eq!(read(None, "0;w=0"), Some((None, 0, Some(1))));
        for wrong in ["", "many", "-1", ";w=1", "99999999999999999999"] {
            assert_eq!(read(Some("100"), wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_longest_waiting_go_first_and_none_overtakes() {
        for (remaining, costs, expected) in [
            (0, [2, 2, 1], 0),
            (1, [2, 1, 1], 0),
            (2, [2, 2, 1], 1),
            (3, [2, 2, 1], 1),
            (4, [2, 2, 1], 2),
            (5, [2, 2, 1], 3),
            (u64::MAX, [2, 2, 1], 3),
        ] {
            assert_eq!(admitted(remaining, costs), expected, "{remaining} for {costs:?}");
        }
        assert_eq!(admitted(0, []), 0);
    }

    #[test]
    fn a_hold_says_what_is_left_and_how_many_go_first() {
        let quota = Quota::parse(Some("100;w=21600"), "1").expect("a quota");
        let hold = |before| Hold { registry: "docker.io".into(), quota, before }.in_words();
        assert_eq!(hold(0), "docker.io has 1 of 100 pulls left, per 6h");
        assert_eq!(hold(1), "docker.io has 1 of 100 pulls left, per 6h; 1 other image goes first");
        assert!(hold(2).ends_with("; 2 other images go first"));
    }
}
