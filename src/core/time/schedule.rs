//! When to check: an interval or cron, by the clock of a time zone, spread over a fleet by jitter.
//!
//! The jitter of a device is constant: it comes from the device's identity, not from chance. So a
//! device keeps its place in the interval, and a person can predict its next round.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use crate::core::text::shown;
use crate::core::time::cron_schedule::{CronError, CronSchedule};
use crate::core::time::duration::{DurationError, format_duration, parse_duration};
use crate::core::time::zone::Zone;

/// Shortest interval: short enough for a demonstration, and no busy loop.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Longest interval, one year of 365.25 days as `1y` is read: more is a mistake in the unit. It is
/// also the delay of a pattern that never fires again.
pub const INTERVAL_MAX: Duration = Duration::from_secs(31_557_600);

/// Longest spread of the first round of an interval, unless the jitter is longer. A Pi that is
/// switched off every evening still gets its daily check.
pub const FIRST_SPREAD_MAX: Duration = Duration::from_secs(60 * 60);

/// The next time of a wall-clock schedule is computed from this far ahead.
const WALL_CLOCK_SLACK: Duration = Duration::from_secs(2);

/// The longest sleep while a schedule follows the wall clock: a Pi has no battery-backed clock, so
/// its time can change at any moment.
pub const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// Why a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("a schedule is missing: write an interval (`30m`) or cron (`0 4 * * *`, `@daily`)")]
    Empty,
    /// It looks like an interval, but is invalid.
    #[error(transparent)]
    Interval(#[from] DurationError),
    /// It looks like cron, but is invalid.
    #[error(transparent)]
    Cron(#[from] CronError),
    #[error("`{0}` is too short: the shortest interval is 1s")]
    TooShort(String),
    #[error("`{0}` is too long: the longest interval is one year (`1y`)")]
    TooLong(String),
}

/// When to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// After this time, from [`INTERVAL_MIN`] to [`INTERVAL_MAX`].
    Every(Duration),
    /// At these times of day.
    Cron(CronSchedule),
}

impl Schedule {
    /// The delay of the first round after a start.
    ///
    /// With an interval, a device waits for its place in it, at most [`FIRST_SPREAD_MAX`], so that
    /// a fleet that starts together does not ask together; without jitter it starts at once. Cron
    /// waits for its time.
    #[must_use]
    pub fn first_delay(
        &self,
        now: DateTime<Utc>,
        zone: &Zone,
        device: DeviceFraction,
        jitter: Jitter,
    ) -> Duration {
        match self {
            Self::Every(interval) => device.of(first_span(*interval, jitter)),
            Self::Cron(_) => self.next_delay(now, zone, device, jitter),
        }
    }

    /// The delay from one round, started at `now`, to the start of the next. Never zero.
    ///
    /// An interval is exact. Cron waits for its next time by the clock of `zone` and then for its
    /// device's share of the jitter, which never reaches the following time. A pattern that never
    /// fires again gives [`INTERVAL_MAX`].
    ///
    /// The result for cron is valid until the system's clock is set, so a caller that sleeps for
    /// long calls this again from time to time.
    #[must_use]
    pub fn next_delay(
        &self,
        now: DateTime<Utc>,
        zone: &Zone,
        device: DeviceFraction,
        jitter: Jitter,
    ) -> Duration {
        let cron = match self {
            Self::Every(interval) => return (*interval).max(INTERVAL_MIN),
            Self::Cron(cron) => cron,
        };
        // The last time may still be in the future for this device, because of its share of the
        // jitter.
        let last = cron.last_until(now, zone);
        let next = cron.next_after(now, zone);
        [last, next]
            .into_iter()
            .flatten()
            .map(|occurrence| delayed(cron, occurrence, zone, device, jitter))
            .find(|instant| *instant > now)
            .and_then(|instant| (instant - now).to_std().ok())
            .unwrap_or(INTERVAL_MAX)
    }

    /// The delay of the next round, for a timetable that has just begun one. Cron is computed from
    /// a little ahead, so that a clock that is slowed down does not fire it twice.
    #[must_use]
    pub fn following_delay(
        &self,
        now: DateTime<Utc>,
        zone: &Zone,
        device: DeviceFraction,
        jitter: Jitter,
    ) -> Duration {
        match self {
            Self::Every(interval) => *interval,
            Self::Cron(_) => {
                let ahead = now + WALL_CLOCK_SLACK;
                self.next_delay(ahead, zone, device, jitter) + WALL_CLOCK_SLACK
            }
        }
    }
}

/// The time span for the first rounds of a fleet. Later rounds keep the exact interval, and each
/// device keeps its place.
fn first_span(interval: Duration, jitter: Jitter) -> Duration {
    match jitter.span(interval) {
        Duration::ZERO => Duration::ZERO,
        span => span.max(interval.min(FIRST_SPREAD_MAX)),
    }
}

/// An occurrence plus the device's share of the jitter, before the following occurrence.
fn delayed(
    cron: &CronSchedule,
    occurrence: DateTime<Utc>,
    zone: &Zone,
    device: DeviceFraction,
    jitter: Jitter,
) -> DateTime<Utc> {
    let gap = cron.next_after(occurrence, zone).map(|following| following - occurrence);
    let gap = gap.and_then(|gap| gap.to_std().ok()).unwrap_or_default();
    let share = device.of(jitter.span(gap));
    chrono::Duration::from_std(share)
        .ok()
        .and_then(|share| occurrence.checked_add_signed(share))
        .unwrap_or(occurrence)
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(interval) => formatter.write_str(&format_duration(*interval)),
            Self::Cron(cron) => cron.fmt(formatter),
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        match parse_duration(text) {
            Ok(interval) => check_interval(interval, text).map(Self::Every),
            Err(_) if looks_like_cron(text) => Ok(Self::Cron(text.parse()?)),
            Err(error) => Err(error.into()),
        }
    }
}

fn looks_like_cron(text: &str) -> bool {
    text.starts_with('@') || text.contains('*') || text.split_whitespace().count() >= 5
}

fn check_interval(interval: Duration, text: &str) -> Result<Duration, ScheduleError> {
    if interval < INTERVAL_MIN {
        return Err(ScheduleError::TooShort(shown(text)));
    }
    if interval > INTERVAL_MAX {
        return Err(ScheduleError::TooLong(shown(text)));
    }
    Ok(interval)
}

/// The place of one device in a fleet: a number from 0 up to, but without, 1.
///
/// Stored as a count of 2⁻⁶⁴, so that a share of a duration is exact and never the whole of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceFraction(u64);

impl DeviceFraction {
    /// The fraction of a device with this identity (`/etc/machine-id`): the same at every start,
    /// spread evenly over many devices.
    ///
    /// The identity is hashed, so that consecutive machine IDs do not get neighbouring places.
    #[must_use]
    pub fn from_identity(identity: &str) -> Self {
        let hash = Sha256::digest(identity.trim().as_bytes());
        Self(hash.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// This device's share of `span`: zero, or less than all of it.
    #[must_use]
    pub fn of(self, span: Duration) -> Duration {
        let span = span.min(INTERVAL_MAX * 100);
        let nanos = (span.as_nanos() * u128::from(self.0)) >> u64::BITS;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The part of an interval over which the devices of a fleet are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Percent of the interval, up to 100.
    Percent(u8),
    /// A duration, but never longer than the interval.
    Span(Duration),
}

impl Jitter {
    /// The time span to spread over in an interval of this length.
    #[must_use]
    pub fn span(self, interval: Duration) -> Duration {
        match self {
            Self::Percent(percent) => {
                interval.checked_mul(u32::from(percent.min(100))).unwrap_or(interval) / 100
            }
            Self::Span(span) => span.min(interval),
        }
    }
}

/// Why a text is not a jitter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JitterError {
    /// The percentage is not a whole number from 0 to 100.
    #[error("`{0}` is not a share of the interval: write `0%` to `100%`, without decimals")]
    Percent(String),
    /// The duration is invalid.
    #[error("{0}, or as a share of the interval like `10%`")]
    Span(#[from] DurationError),
}

impl FromStr for Jitter {
    type Err = JitterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let Some(number) = text.strip_suffix('%') else {
            return Ok(Self::Span(parse_duration(text)?));
        };
        let percent = number.trim().parse().ok().filter(|percent: &u8| *percent <= 100);
        percent.map(Self::Percent).ok_or_else(|| JitterError::Percent(shown(text)))
    }
}

impl fmt::Display for Jitter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(formatter, "{percent}%"),
            Self::Span(span) => formatter.write_str(&format_duration(*span)),
        }
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
