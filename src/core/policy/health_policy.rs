//! How long a new container is watched before it is accepted, and how its health is checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::policy::probe::Probe;
use crate::core::time::duration::{DurationError, format_duration, parse_duration};

/// Shortest `health.timeout`: no container is healthy at once.
pub const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Longest `health.timeout` and `health.stable`, one day: the update runs for that long, and
/// nothing that shares a container or an image with it is updated.
pub const WATCH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest trial that the HEALTHCHECK of an image alone can ask for. An image speaks for the person
/// who published it: with `--start-period=8760h` it would extend its own trial to a year. Only the
/// operator can allow more, by the label `health.timeout` or a health check of the container.
pub const IMAGE_HEALTHCHECK_MAX: Duration = Duration::from_secs(15 * 60);

/// Docker's default if a HEALTHCHECK has no `interval` (Dockerfile reference).
const DOCKER_INTERVAL: Duration = Duration::from_secs(30);

/// Docker's default if a HEALTHCHECK has no `timeout`.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(30);

/// Docker's default if a HEALTHCHECK has no `retries`.
const DOCKER_RETRIES: u32 = 3;

/// Why a value of `health.timeout` or `health.stable` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealthPolicyError {
    #[error(transparent)]
    Duration(#[from] DurationError),
    #[error("`{}` is too short: use {} or more", format_duration(*.0), format_duration(TIMEOUT_MIN))]
    TooShort(Duration),
    #[error("`{}` is too long: use {} or less", format_duration(*.0), format_duration(WATCH_MAX))]
    TooLong(Duration),
}

/// Reads `health.timeout`: from [`TIMEOUT_MIN`] to [`WATCH_MAX`].
///
/// # Errors
/// Says what is wrong, and what is valid.
pub fn parse_timeout(text: &str) -> Result<Duration, HealthPolicyError> {
    let timeout = parse_stable(text)?;
    if timeout < TIMEOUT_MIN { Err(HealthPolicyError::TooShort(timeout)) } else { Ok(timeout) }
}

/// Reads `health.stable`: up to [`WATCH_MAX`]; `0s` accepts a container as soon as it is healthy.
///
/// # Errors
/// Says what is wrong, and what is valid.
pub fn parse_stable(text: &str) -> Result<Duration, HealthPolicyError> {
    let stable = parse_duration(text)?;
    if stable > WATCH_MAX { Err(HealthPolicyError::TooLong(stable)) } else { Ok(stable) }
}

/// The times of a HEALTHCHECK from the Engine's inspect document; zero means Docker's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// From the end of one check to the start of the next.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many checks in a row must fail.
    pub retries: u32,
    /// How long failures do not count after the start.
    pub start_period: Duration,
    /// The interval during the start period (API 1.44); zero if the Engine has none.
    pub start_interval: Duration,
}

impl Healthcheck {
    /// The time from the start of the container to the Engine's first check.
    #[must_use]
    pub fn first_check(&self) -> Duration {
        let interval = self.interval_or_default();
        let is_quick = !self.start_period.is_zero() && !self.start_interval.is_zero();
        if is_quick { self.start_interval.min(interval) } else { interval }
    }

    /// Whether the Engine checks so seldom that a trial of this length would end without a result,
    /// or with only one.
    #[must_use]
    pub fn is_asked_too_seldom(&self, trial: Duration) -> bool {
        self.first_check() >= trial || self.interval_or_default() > trial
    }

    /// How long one run of the check may take.
    #[must_use]
    pub fn timeout_or_default(&self) -> Duration {
        if self.timeout.is_zero() { DOCKER_TIMEOUT } else { self.timeout }
    }

    /// How many failures in a row make a container unhealthy.
    #[must_use]
    pub const fn retries_or_default(&self) -> u32 {
        if self.retries == 0 { DOCKER_RETRIES } else { self.retries }
    }

    const fn interval_or_default(&self) -> Duration {
        if self.interval.is_zero() { DOCKER_INTERVAL } else { self.interval }
    }

    /// The longest time until the Engine reports a container unhealthy: start period + (interval +
    /// timeout) × (retries + 1).
    #[must_use]
    pub fn longest_verdict(&self) -> Duration {
        self.interval_or_default()
            .saturating_add(self.timeout_or_default())
            .saturating_mul(self.retries_or_default().saturating_add(1))
            .saturating_add(self.start_period)
    }
}

/// How a new container is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSettings {
    /// The container's label.
    pub timeout: Option<Duration>,
    /// The agent's `health.timeout`.
    pub default_timeout: Duration,
    /// How long the new container must stay healthy before the old one is removed.
    pub stable: Duration,
    pub probe: Option<Probe>,
}

impl HealthSettings {
    /// How long a new container with this HEALTHCHECK may take to become healthy.
    ///
    /// The label counts unchanged. The agent's default is extended for a HEALTHCHECK whose own
    /// times are longer, so that no container fails before the Engine can report its health.
    #[must_use]
    pub fn effective_timeout(&self, healthcheck: Option<&Healthcheck>) -> Duration {
        if let Some(timeout) = self.timeout {
            return timeout;
        }
        let needed = healthcheck.map_or(Duration::ZERO, Healthcheck::longest_verdict);
        self.default_timeout.max(needed)
    }

    /// The time that the HEALTHCHECK of an image asks for, if it is more than an image alone may
    /// ask for.
    #[must_use]
    pub fn image_timeout_excess(&self, healthcheck: &Healthcheck) -> Option<Duration> {
        let needed = self.effective_timeout(Some(healthcheck));
        let allowed = IMAGE_HEALTHCHECK_MAX.max(self.default_timeout);
        (self.timeout.is_none() && needed > allowed).then_some(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn settings(timeout: Option<Duration>) -> HealthSettings {
        HealthSettings { timeout, default_timeout: seconds(60), stable: seconds(30), probe: None }
    }

    #[test]
    fn the_timeout_is_the_label_or_the_longer_of_default_and_healthcheck() {
        let check = |interval, timeout, retries, start_period| {
            Some(Healthcheck {
                interval: seconds(interval),
                timeout: seconds(timeout),
                retries,
                start_period: seconds(start_period),
                start_interval: Duration::ZERO,
            })
        };
        for (label, healthcheck, expected) in [
            (None, None, 60),
            (Some(5), None, 5),
            (Some(5), check(45, 10, 3, 0), 5),
            // Shorter than the default.
            (None, check(1, 1, 1, 0), 60),
            (None, check(45, 10, 3, 20), 240),
            // Docker's defaults for missing values: 30s, 30s, 3, 0.
            (None, check(0, 0, 0, 0), 240),
            (None, check(0, 5, 0, 0), 140),
            (None, check(10, 0, 1, 0), 80),
        ] {
            let timeout = settings(label.map(seconds)).effective_timeout(healthcheck.as_ref());
            assert_eq!(timeout, seconds(expected), "{label:?} {healthcheck:?}");
        }
    }

    #[test]
    fn a_hostile_healthcheck_does_not_overflow() {
        let endless = Healthcheck {
            interval: Duration::MAX,
            timeout: Duration::MAX,
            retries: u32::MAX,
            start_period: Duration::MAX,
            start_interval: Duration::MAX,
        };
        assert_eq!(settings(None).effective_timeout(Some(&endless)), Duration::MAX);
        assert!(settings(None).image_timeout_excess(&endless).is_some());
    }

    #[test]
    fn an_image_may_ask_for_fifteen_minutes_and_the_operator_for_more() {
        let with = |start_period| Healthcheck {
            interval: seconds(10),
            timeout: seconds(5),
            retries: 3,
            start_period: seconds(start_period),
            start_interval: Duration::ZERO,
        };
        let excess = |settings: HealthSettings, start_period| {
            settings.image_timeout_excess(&with(start_period))
        };
        assert_eq!(excess(settings(None), 840), None);
        assert_eq!(excess(settings(None), 841), Some(seconds(901)));
        assert_eq!(excess(settings(Some(seconds(30))), 8_760 * 3_600), None);
        let patient = HealthSettings { default_timeout: seconds(3_600), ..settings(None) };
        assert_eq!(excess(patient, 1_800), None);
    }

    #[test]
    fn a_check_that_the_engine_runs_too_seldom_is_known() {
        let check = |interval, start_period, start_interval, trial, expected| {
            let healthcheck = Healthcheck {
                interval: seconds(interval),
                start_period: seconds(start_period),
                start_interval: seconds(start_interval),
                ..Healthcheck::default()
            };
            assert_eq!(
                healthcheck.is_asked_too_seldom(seconds(trial)),
                expected,
                "{healthcheck:?}"
            );
        };
        check(30, 0, 0, 60, false);
        check(30, 0, 0, 30, true);
        check(0, 0, 0, 10, true);
        check(3_600, 0, 0, 120, true);
        // Quick at first, but only once within the trial.
        check(3_600, 30, 1, 120, true);
        check(60, 30, 1, 120, false);
        check(1, 0, 0, 2, false);
    }

    #[test]
    fn limits_are_named() {
        assert_eq!(parse_timeout("1s"), Ok(seconds(1)));
        assert_eq!(parse_stable("0s"), Ok(seconds(0)));
        assert_eq!(parse_timeout("24h"), Ok(seconds(86_400)));
        let message = |result: Result<Duration, HealthPolicyError>| {
            result.expect_err("out of bounds").to_string()
        };
        assert_eq!(message(parse_timeout("500ms")), "`500ms` is too short: use 1s or more");
        assert_eq!(message(parse_timeout("25h")), "`1d 1h` is too long: use 1d or less");
        assert_eq!(message(parse_stable("2d")), "`2d` is too long: use 1d or less");
        assert!(message(parse_stable("30")).contains("no unit"));
    }
}
