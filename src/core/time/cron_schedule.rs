//! Cron patterns in wall-clock time.
//!
//! The `cron` crate evaluates the patterns. It gets wall-clock times, never times with a zone: with
//! those it leaves out a day in spring and fires twice in autumn. [`crate::core::time::wall_clock`]
//! turns the times into instants: a time that does not exist fires at the end of the gap, a time
//! that exists twice fires once, the first time.
//!
//! The meaning is Vixie cron's (crontab(5)), with five fields, six (seconds first) or seven (years
//! last):
//! - days of the week are 0 to 7, where 0 and 7 are Sunday, or names. The crate counts from Sunday
//!   as 1, so they are translated;
//! - if day of month and day of week are both restricted (neither begins with `*`), either of them
//!   is enough; the crate would require both, so such a pattern becomes two.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Duration, Utc, Weekday};

use crate::core::text::{did_you_mean, shown};
use crate::core::time::wall_clock::{instant_of, reading, repeats_after};
use crate::core::time::zone::Zone;

/// Longest pattern in bytes: every minute of an hour, listed, fits.
const PATTERN_MAX: usize = 512;

/// The years that the `cron` crate knows. Outside of them nothing fires.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

/// The short forms, and the `cron` crate's names for them.
const SHORTHANDS: [(&str, &str); 7] = [
    ("@hourly", "@hourly"),
    ("@daily", "@daily"),
    ("@midnight", "@daily"),
    ("@weekly", "@weekly"),
    ("@monthly", "@monthly"),
    ("@yearly", "@yearly"),
    ("@annually", "@yearly"),
];

/// The fields of a full pattern in order: name and range.
const FIELDS: [(&str, &str); 7] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12 or Jan-Dec"),
    ("day of week", "0-7 or Sun-Sat"),
    ("year", "1970-2100"),
];

/// The index of the day of month in [`FIELDS`].
const DAY_OF_MONTH: usize = 3;

/// The index of the day of week in [`FIELDS`].
const DAY_OF_WEEK: usize = 5;

/// Why a text is not a cron pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error(
        "`{pattern}` has {count} fields: cron has five (minute, hour, day of month, month, day of week), six with seconds first, seven with years last"
    )]
    FieldCount { pattern: String, count: usize },
    /// A field is invalid.
    #[error(
        "`{part}` does not fit the {field}: use {range}, `*`, lists (`1,5`), ranges (`1-5`) and steps (`*/5`)"
    )]
    Field {
        field: &'static str,
        /// The text of the field.
        part: String,
        /// The valid values.
        range: &'static str,
    },
    #[error("`{0}` is not known: use @hourly, @daily, @weekly, @monthly or @yearly{1}")]
    Shorthand(String, String),
    /// A date that no calendar has.
    #[error("`{0}` never happens: no month has that day")]
    Never(String),
    #[error("a cron pattern has at most {PATTERN_MAX} characters")]
    TooLong,
}

/// A cron pattern that fires at least once between 1970 and 2100.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    source: String,
    /// One, or two of which either is enough.
    patterns: Vec<cron::Schedule>,
}

impl CronSchedule {
    /// The first time it fires after `now`, by the clock of `zone`.
    #[must_use]
    pub fn next_after(&self, now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        if !YEARS.contains(&now.year()) {
            return None;
        }
        let wall = reading(now, zone).and_utc();
        let next = |pattern: &cron::Schedule| {
            let mut instants =
                pattern.after(&wall).map(|reading| instant_of(reading.naive_utc(), zone));
            // In the second pass of a repeated hour, its times have already fired.
            instants.find(|instant| *instant > now)
        };
        self.patterns.iter().filter_map(next).min()
    }

    /// The last time it fired until `now` (included), by the clock of `zone`.
    #[must_use]
    pub fn last_until(&self, now: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        if !YEARS.contains(&now.year()) {
            return None;
        }
        let wall = reading(now, zone);
        // Backwards the crate excludes the start. And in a repeated hour, times later than the
        // clock may have fired already.
        let start = (wall + repeats_after(wall, zone) + Duration::seconds(1)).and_utc();
        let last = |pattern: &cron::Schedule| {
            let backwards = pattern.after(&start).rev();
            let mut instants = backwards.map(|reading| instant_of(reading.naive_utc(), zone));
            instants.find(|instant| *instant <= now)
        };
        self.patterns.iter().filter_map(last).max()
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CronSchedule {}

impl fmt::Display for CronSchedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl FromStr for CronSchedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > PATTERN_MAX {
            return Err(CronError::TooLong);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let source = words.join(" ");
        let patterns = if source.starts_with('@') {
            vec![parse_shorthand(&source)?]
        } else {
            parse_fields(&source, &words)?
        };
        let beginning = DateTime::UNIX_EPOCH - Duration::seconds(1);
        if patterns.iter().all(|pattern| pattern.after(&beginning).next().is_none()) {
            return Err(CronError::Never(source));
        }
        Ok(Self { source, patterns })
    }
}

fn parse_shorthand(source: &str) -> Result<cron::Schedule, CronError> {
    let unknown = || {
        let meant = did_you_mean(source, SHORTHANDS.iter().map(|(name, _)| *name));
        CronError::Shorthand(shown(source), meant)
    };
    let (_, name) = SHORTHANDS.iter().find(|(name, _)| *name == source).ok_or_else(unknown)?;
    name.parse().map_err(|_| unknown())
}

fn parse_fields(source: &str, words: &[&str]) -> Result<Vec<cron::Schedule>, CronError> {
    let mut fields = all_fields(source, words)?;
    let is_restricted = |field: &str| !field.starts_with(['*', '?']);
    let either_day_is_enough =
        is_restricted(&fields[DAY_OF_MONTH]) && is_restricted(&fields[DAY_OF_WEEK]);
    fields[DAY_OF_WEEK] = translate_days_of_week(&fields[DAY_OF_WEEK])?;
    if !either_day_is_enough {
        return Ok(vec![parse_full(&fields)?]);
    }
    [DAY_OF_MONTH, DAY_OF_WEEK]
        .into_iter()
        .map(|opened| parse_full(&with_star(&fields, opened)))
        .collect()
}

/// All seven fields, with defaults for the second and the year.
fn all_fields(source: &str, words: &[&str]) -> Result<Vec<String>, CronError> {
    let (before, after): (&[&str], &[&str]) = match words.len() {
        5 => (&["0"], &["*"]),
        6 => (&[], &["*"]),
        7 => (&[], &[]),
        count => return Err(CronError::FieldCount { pattern: shown(source), count }),
    };
    Ok([before, words, after].concat().into_iter().map(str::to_owned).collect())
}

fn with_star(fields: &[String], opened: usize) -> Vec<String> {
    let mut fields = fields.to_vec();
    "*".clone_into(&mut fields[opened]);
    fields
}

fn parse_full(fields: &[String]) -> Result<cron::Schedule, CronError> {
    fields.join(" ").parse().map_err(|_| name_wrong_field(fields))
}

/// The crate's own message draws a picture of the whole pattern; a person needs the field.
fn name_wrong_field(fields: &[String]) -> CronError {
    let is_wrong_alone = |index: &usize| {
        let mut alone = vec!["*"; fields.len()];
        alone[*index] = &fields[*index];
        alone.join(" ").parse::<cron::Schedule>().is_err()
    };
    let wrong = (0..fields.len()).find(is_wrong_alone).unwrap_or_default();
    field_error(wrong, &fields[wrong])
}

fn field_error(index: usize, part: &str) -> CronError {
    let (field, range) = FIELDS[index];
    CronError::Field { field, part: shown(part), range }
}

/// Translates days of the week: from 0 or 7 as Sunday to the `cron` crate's 1 as Sunday.
fn translate_days_of_week(field: &str) -> Result<String, CronError> {
    if field == "*" || field == "?" {
        return Ok("*".to_owned());
    }
    let mut days = [false; 7];
    for item in field.split(',') {
        let chosen = days_of_item(item).ok_or_else(|| field_error(DAY_OF_WEEK, field))?;
        for day in chosen {
            days[day] = true;
        }
    }
    let numbers = (1..=7).filter(|number| days[number - 1]).map(|number| number.to_string());
    Ok(numbers.collect::<Vec<_>>().join(","))
}

/// The days of one item, 0 for Sunday: `*`, `1`, `Mon`, `1-5`, `Fri-Mon`, each with `/STEP`.
fn days_of_item(item: &str) -> Option<Vec<usize>> {
    let (base, step) = match item.split_once('/') {
        None => (item, None),
        Some((base, step)) => {
            let step = step.parse().ok().filter(|step: &usize| (1..=7).contains(step))?;
            (base, Some(step))
        }
    };
    let (first, last) = match (base, base.split_once('-'), step) {
        ("*", _, _) => (0, 6),
        (_, Some((first, last)), _) => (day_of_week(first)?, day_of_week(last)?),
        (_, None, None) => (day_of_week(base)?, day_of_week(base)?),
        // `1/2` counts from that day to the end of the week.
        (_, None, Some(_)) => (day_of_week(base)?, 6.max(day_of_week(base)?)),
    };
    // A range may continue after the end of the week: Sat-Mon.
    let last = if last < first { last + 7 } else { last };
    Some((first..=last).step_by(step.unwrap_or(1)).map(|day| day % 7).collect())
}

/// Days since Sunday, from 0 to 7 or a name.
fn day_of_week(text: &str) -> Option<usize> {
    if let Ok(day) = text.parse::<Weekday>() {
        return usize::try_from(day.num_days_from_sunday()).ok();
    }
    let is_digit = text.len() == 1;
    text.parse().ok().filter(|day| is_digit && *day <= 7)
}

#[cfg(test)]
#[path = "cron_schedule_tests.rs"]
mod tests;
