//! Times of day at which something may be done: `01:00-05:00`, `Mon-Fri 09:00-17:00`, several
//! separated by commas; an empty text means always.
//!
//! A window follows the wall clock: it is open whenever the clock shows one of its times. So an
//! hour that is repeated in autumn is in it twice, and a window inside the hour that is left out in
//! spring does not open on that day. A window across midnight belongs to the day on which it
//! begins.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc, Weekday,
    WeekdaySet,
};

use crate::core::text::shown;
use crate::core::time::wall_clock::{change_between, instant_of, reading, repeats_after};
use crate::core::time::zone::Zone;

/// Most windows in one text; no person writes more.
const WINDOWS_MAX: usize = 50;

/// Minutes in a day.
const DAY: u32 = 24 * 60;

/// How many days are searched for an opening: each day of the week more than once, so that a day
/// that the clock leaves out does not matter.
const SEARCH_DAYS: u64 = 16;

/// Why a text is not a list of windows. Each variant names the invalid part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The part is not `[DAYS] HH:MM-HH:MM`.
    #[error("`{0}` is not a window: write `01:00-05:00` or `Mon-Fri 09:00-17:00`")]
    Form(String),
    /// A time that no clock shows.
    #[error("`{time}` in `{part}` is not a time of day: write 00:00 to 24:00")]
    Time {
        time: String,
        /// The window with this text.
        part: String,
    },
    /// A word that is not a day.
    #[error(
        "`{day}` in `{part}` is not a day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun"
    )]
    Day {
        day: String,
        /// The window with the day.
        part: String,
    },
    #[error("`{0}` has no times: write `{0} 00:00-24:00` for the whole day")]
    NoTimes(String),
    /// Start and end are the same.
    #[error("`{0}` is empty: write 00:00-24:00 for the whole day")]
    Nothing(String),
    #[error("there is nothing between two commas, or at the end of the list of windows")]
    Missing,
    #[error("there are more than {WINDOWS_MAX} windows")]
    TooMany,
}

/// One span of the day, and the days of the week on which it begins. Minutes since midnight; an
/// `end` at or before `start` is on the following day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    days: WeekdaySet,
    start: u32,
    end: u32,
}

impl Window {
    fn begins_on(&self, day: NaiveDate) -> bool {
        self.days.contains(day.weekday())
    }

    fn contains(&self, wall: NaiveDateTime) -> bool {
        let minute = wall.hour() * 60 + wall.minute();
        let today = self.begins_on(wall.date());
        if self.start < self.end {
            return today && (self.start..self.end).contains(&minute);
        }
        let yesterday = wall.date().pred_opt().is_some_and(|day| self.begins_on(day));
        (today && minute >= self.start) || (yesterday && minute < self.end)
    }

    fn opening_on(&self, day: NaiveDate) -> Option<NaiveDateTime> {
        let start = NaiveTime::from_hms_opt(self.start / 60, self.start % 60, 0)?;
        self.begins_on(day).then(|| day.and_time(start))
    }
}

/// Windows of the week; none means always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    source: String,
    windows: Vec<Window>,
}

impl Windows {
    /// No restriction.
    #[must_use]
    pub fn always() -> Self {
        Self::default()
    }

    /// Whether there is no restriction.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether the clock of `zone` shows a time inside at `now`.
    #[must_use]
    pub fn contains(&self, now: DateTime<Utc>, zone: &Zone) -> bool {
        let wall = reading(now, zone);
        self.is_always() || self.windows.iter().any(|window| window.contains(wall))
    }

    /// The first time at or after `now` that is inside: `now` itself if a window is open.
    ///
    /// `None` only at the end of the calendar.
    #[must_use]
    pub fn next_opening(&self, now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        if self.contains(now, zone) {
            return Some(now);
        }
        let today = reading(now, zone).date();
        (0..SEARCH_DAYS)
            .map_while(|ahead| today.checked_add_days(Days::new(ahead)))
            .find_map(|day| self.opening_on(day, now, zone))
    }

    /// The first opening after `now` on one day: at the start of a window, each time the clock
    /// shows it, or if a clock change leads into the middle of a window.
    fn opening_on(&self, day: NaiveDate, now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        let midnight = instant_of(day.and_time(NaiveTime::MIN), zone);
        let next_midnight = instant_of(day.succ_opt()?.and_time(NaiveTime::MIN), zone);
        let begins = self.windows.iter().filter_map(|window| window.opening_on(day));
        begins
            .flat_map(|wall| {
                let first = instant_of(wall, zone);
                [first, first + repeats_after(wall, zone)]
            })
            .chain(change_between(midnight - MINUTE, next_midnight, zone))
            .filter(|instant| *instant > now && self.contains(*instant, zone))
            .min()
    }
}

/// A clock change at midnight belongs to the day it begins.
const MINUTE: chrono::Duration = chrono::Duration::minutes(1);

impl fmt::Display for Windows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl FromStr for Windows {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Ok(Self::always());
        }
        let parts: Vec<String> = text
            .split(',')
            .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        if parts.len() > WINDOWS_MAX {
            return Err(WindowError::TooMany);
        }
        let windows = parts.iter().map(|part| parse_window(part)).collect::<Result<_, _>>()?;
        Ok(Self { source: parts.join(", "), windows })
    }
}

fn parse_window(part: &str) -> Result<Window, WindowError> {
    if part.is_empty() {
        return Err(WindowError::Missing);
    }
    // Blanks around the hyphens are ignored: `Mon - Fri 09:00 - 17:00`.
    let tight = part.replace(" -", "-").replace("- ", "-");
    let (days, times) = match tight.split_once(' ') {
        Some((days, times)) => (parse_days(days, part)?, times),
        None if tight.contains(':') => (WeekdaySet::ALL, tight.as_str()),
        None if parse_days(&tight, part).is_ok() => return Err(WindowError::NoTimes(shown(part))),
        None => return Err(WindowError::Form(shown(part))),
    };
    let (start, end) = times.split_once('-').ok_or_else(|| WindowError::Form(shown(part)))?;
    let (start, end) = (parse_time(start, part)?, parse_time(end, part)?);
    if start % DAY == end % DAY && (start, end) != (0, DAY) {
        return Err(WindowError::Nothing(shown(part)));
    }
    Ok(Window { days, start: start % DAY, end })
}

/// `Mon`, `Mon-Fri`, and across the end of the week: `Sat-Mon`.
fn parse_days(text: &str, part: &str) -> Result<WeekdaySet, WindowError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (mut day, last) = (parse_day(first, part)?, parse_day(last, part)?);
    let mut days = WeekdaySet::single(day);
    while day != last {
        day = day.succ();
        days.insert(day);
    }
    Ok(days)
}

fn parse_day(text: &str, part: &str) -> Result<Weekday, WindowError> {
    text.parse().map_err(|_| WindowError::Day { day: shown(text), part: shown(part) })
}

/// Minutes since midnight.
fn parse_time(text: &str, part: &str) -> Result<u32, WindowError> {
    let number = |digits: &str, length: std::ops::RangeInclusive<usize>| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && length.contains(&digits.len())).then(|| digits.parse::<u32>().ok()).flatten()
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((number(hour, 1..=2)?, number(minute, 2..=2)?)))
        .filter(|(hour, minute)| *minute < 60 && hour * 60 + minute <= DAY)
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| WindowError::Time { time: shown(text), part: shown(part) })
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
