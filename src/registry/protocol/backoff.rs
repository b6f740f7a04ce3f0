//! How long requests to a host, or for one image of it, are paused after a failure.
//!
//! A pause is never slept: a lookup during the pause gets the same failure at once. A failure of
//! one image pauses only that image. The whole host is paused if no connection succeeds, or if it
//! shows signs of overload several times in a row, without a good answer in between. So no answer
//! for one image can affect another image.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::registry::protocol::error::{Failure, FailureScope};
use crate::registry::protocol::settings::Limits;

/// Signs of overload in a row after which the whole host is paused.
const LOAD_SIGNS: u32 = 3;

/// Most doublings of a pause, so that the shift below cannot overflow.
const DOUBLINGS_MAX: u32 = 16;

/// The part of a pause by which jitter changes it up or down: a quarter.
const JITTER_PARTS: u32 = 4;

/// Most pauses that are remembered per host. Every digest that a registry names may fail once;
/// pauses that end first are forgotten first.
const PAUSES_MAX: usize = 500;

/// The kind of request that is paused. On Docker Hub a `GET` of a manifest costs quota and a `HEAD`
/// does not, so a refused `GET` says nothing about the `HEAD`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::registry) enum RequestKind {
    Head,
    Get,
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Host,
    Gets,
    Image(RequestKind, String),
}

#[derive(Debug)]
struct Pause {
    failures: u32,
    until: Instant,
    error: LookupError,
}

/// The failures of one host.
#[derive(Debug)]
pub(in crate::registry) struct Backoff {
    first: Duration,
    longest: Duration,
    load_signs: u32,
    pauses: HashMap<Target, Pause>,
}

impl Backoff {
    /// No pauses.
    pub fn new(limits: &Limits) -> Self {
        let (first, longest) = (limits.pause_first, limits.pause_longest);
        Self { first, longest, load_signs: 0, pauses: HashMap::new() }
    }

    /// The failure that pauses this request, with the remaining time of the pause.
    pub fn holds(&self, kind: RequestKind, image: &str, now: Instant) -> Option<LookupError> {
        let image = Target::Image(kind, image.to_owned());
        let gets = (kind == RequestKind::Get).then_some(Target::Gets);
        let pauses = [Some(Target::Host), gets, Some(image)];
        let pauses = pauses.iter().flatten().filter_map(|target| self.pauses.get(target));
        let pause = pauses.filter(|pause| pause.until > now).max_by_key(|pause| pause.until)?;
        let retry_after = Some(pause.until.saturating_duration_since(now));
        Some(LookupError { retry_after, ..pause.error.clone() })
    }

    /// The failure that pauses only this image, for this kind of request.
    pub fn holds_image(&self, kind: RequestKind, image: &str, now: Instant) -> Option<LookupError> {
        let pause = self.pauses.get(&Target::Image(kind, image.to_owned()))?;
        let retry_after = Some(pause.until.checked_duration_since(now)?);
        (pause.until > now).then(|| LookupError { retry_after, ..pause.error.clone() })
    }

    /// Records a clear answer: all pauses for this request are removed.
    pub fn succeeded(&mut self, kind: RequestKind, image: &str) {
        self.load_signs = 0;
        self.pauses.remove(&Target::Host);
        self.pauses.remove(&Target::Image(kind, image.to_owned()));
        if kind == RequestKind::Get {
            self.pauses.remove(&Target::Gets);
        }
    }

    /// Records a failure. `chance` is any number; it changes the pause a little, so that a hundred
    /// agents behind one router do not come back in the same second.
    pub fn failed(
        &mut self,
        kind: RequestKind,
        image: &str,
        failure: &Failure,
        now: Instant,
        chance: u64,
    ) {
        match failure.blame {
            FailureScope::Nobody => return self.succeeded(kind, image),
            FailureScope::Host => self.pause(Target::Host, &failure.error, now, chance),
            FailureScope::Load => {
                self.load_signs = self.load_signs.saturating_add(1);
                if self.load_signs >= LOAD_SIGNS {
                    let whole = if kind == RequestKind::Head { Target::Host } else { Target::Gets };
                    self.pause(whole, &failure.error, now, chance);
                }
            }
            FailureScope::Response => {}
        }
        self.pause(Target::Image(kind, image.to_owned()), &failure.error, now, chance);
    }

    fn pause(&mut self, target: Target, error: &LookupError, now: Instant, chance: u64) {
        // An operator who renews a certificate wants to see the result soon, without a long pause.
        let grows = error.reason != Reason::RegistryCertificate;
        let earlier = self.pauses.get(&target);
        let running = earlier.is_some_and(|pause| pause.until > now);
        // Requests that were sent together fail together: that counts as one failure.
        let failures = earlier.map_or(0, |pause| pause.failures);
        let failures = if grows && !running { failures.saturating_add(1) } else { failures.max(1) };
        let pause =
            jittered(self.grown(failures), chance).max(error.retry_after.unwrap_or_default());
        let until = earlier.map_or(now, |pause| pause.until).max(now + pause);
        if earlier.is_none() {
            self.make_room(now);
        }
        self.pauses.insert(target, Pause { failures, until, error: error.clone() });
    }

    /// Forgets pauses that ended long ago, and those that end first if there are too many.
    fn make_room(&mut self, now: Instant) {
        if self.pauses.len() < PAUSES_MAX {
            return;
        }
        let long_ago = self.longest;
        self.pauses.retain(|_, pause| pause.until + long_ago > now);
        while self.pauses.len() >= PAUSES_MAX {
            let first = self.pauses.iter().min_by_key(|(_, pause)| pause.until);
            let Some(first) = first.map(|(target, _)| target.clone()) else { return };
            self.pauses.remove(&first);
        }
    }

    fn grown(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// The pause, changed by up to a quarter in either direction.
fn jittered(pause: Duration, chance: u64) -> Duration {
    let span = pause / JITTER_PARTS;
    let share = (chance % 1000) as u32;
    pause - span + span * 2 * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u64 = 500;

    fn backoff() -> Backoff {
        Backoff::new(&Limits::default())
    }

    fn failure(reason: Reason, blame: FailureScope) -> Failure {
        Failure::new(reason, blame, "a sentence")
    }

    #[test]
    fn one_image_that_fails_does_not_hold_another() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryError, FailureScope::Response);
        for _ in 0..10 {
            backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        }
        assert_eq!(
            backoff.holds(RequestKind::Head, "a", now).expect("held").reason,
            failed.error.reason
        );
        assert_eq!(backoff.holds(RequestKind::Head, "b", now), None);
        assert_eq!(backoff.holds(RequestKind::Get, "a", now), None);
    }

    #[test]
    fn a_registry_that_names_a_new_digest_each_second_fills_nothing() {
        let (mut backoff, mut now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryError, FailureScope::Response);
        for number in 0..2000 {
            backoff.failed(RequestKind::Get, &format!("a@{number}"), &failed, now, MIDDLE);
            now += Duration::from_millis(10);
        }
        assert!(backoff.pauses.len() <= PAUSES_MAX, "{}", backoff.pauses.len());
        assert!(backoff.holds(RequestKind::Get, "a@1999", now).is_some());
    }

    #[test]
    fn a_host_without_a_connection_is_held_at_once() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryUnreachable, FailureScope::Host);
        backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        let held = backoff.holds(RequestKind::Get, "b", now).expect("held");
        assert_eq!(held.detail, "a sentence");
        assert_eq!(held.retry_after, Some(Duration::from_secs(15)));
        assert_eq!(backoff.holds(RequestKind::Get, "b", now + Duration::from_secs(15)), None);
    }

    #[test]
    fn load_holds_the_host_only_when_it_is_shown_in_a_row() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let failed = failure(Reason::RateLimited, FailureScope::Load);
        backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        backoff.failed(RequestKind::Head, "b", &failed, now, MIDDLE);
        backoff.succeeded(RequestKind::Head, "c");
        backoff.failed(RequestKind::Head, "d", &failed, now, MIDDLE);
        assert_eq!(backoff.holds(RequestKind::Head, "c", now), None);
        backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        backoff.failed(RequestKind::Head, "b", &failed, now, MIDDLE);
        assert!(backoff.holds(RequestKind::Head, "c", now).is_some());
    }

    #[test]
    fn gets_without_quota_do_not_hold_heads() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let failed = failure(Reason::RateLimited, FailureScope::Load);
        for image in ["a", "b", "c"] {
            backoff.failed(RequestKind::Get, image, &failed, now, MIDDLE);
        }
        assert!(backoff.holds(RequestKind::Get, "d", now).is_some());
        assert_eq!(backoff.holds(RequestKind::Head, "d", now), None);
    }

    #[test]
    fn the_waiting_time_of_the_registry_is_followed() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let mut failed = failure(Reason::RateLimited, FailureScope::Load);
        failed.error.retry_after = Some(Duration::from_secs(3600));
        backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        let later = now + Duration::from_secs(3599);
        assert_eq!(
            backoff.holds(RequestKind::Head, "a", later).expect("held").retry_after,
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_an_answer() {
        let (mut backoff, mut now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryError, FailureScope::Response);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
            let held = backoff.holds(RequestKind::Head, "a", now).expect("held");
            let pause = held.retry_after.expect("a time");
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 600, 600]);
        backoff.succeeded(RequestKind::Head, "a");
        backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        let held = backoff.holds(RequestKind::Head, "a", now).expect("held");
        assert_eq!(held.retry_after, Some(Duration::from_secs(15)));
    }

    #[test]
    fn failures_in_flight_together_count_once() {
        let (mut backoff, now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryUnreachable, FailureScope::Host);
        for _ in 0..50 {
            backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
        }
        let held = backoff.holds(RequestKind::Head, "a", now).expect("held");
        assert_eq!(held.retry_after, Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_renewed_certificate_is_tried_soon() {
        let (mut backoff, mut now) = (backoff(), Instant::now());
        let failed = failure(Reason::RegistryCertificate, FailureScope::Host);
        for _ in 0..5 {
            backoff.failed(RequestKind::Head, "a", &failed, now, MIDDLE);
            now += Duration::from_secs(15);
            assert_eq!(backoff.holds(RequestKind::Head, "a", now), None);
        }
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let pause = Duration::from_secs(100);
        for chance in [0, 1, 499, 999, u64::MAX] {
            let moved = jittered(pause, chance).as_secs();
            assert!((75..=125).contains(&moved), "{moved}");
        }
    }
}
