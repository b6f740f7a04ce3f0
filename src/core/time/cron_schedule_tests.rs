//! Tables of patterns, compared with a calendar that is walked minute by minute.

use super::*;
use crate::core::time::zone::zone;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

fn cron(text: &str) -> CronSchedule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in UTC")
}

/// The first `count` times after the beginning of 2027, a Friday, in UTC.
fn first(pattern: &str, count: usize) -> Vec<String> {
    let schedule = cron(pattern);
    let mut now = utc("2026-12-31T23:59:59Z");
    let next = std::iter::from_fn(|| {
        now = schedule.next_after(now, &Zone::utc())?;
        Some(now.format("%a %m-%d %H:%M:%S").to_string())
    });
    next.take(count).collect()
}

#[test]
fn days_of_the_week_are_those_of_crontab() {
    for (pattern, expected) in [
        ("0 4 * * 0", vec!["Sun 01-03 04:00:00"]),
        ("0 4 * * 7", vec!["Sun 01-03 04:00:00"]),
        ("0 4 * * 1", vec!["Mon 01-04 04:00:00"]),
        ("0 4 * * sun", vec!["Sun 01-03 04:00:00"]),
        ("0 4 * * Monday", vec!["Mon 01-04 04:00:00"]),
        ("0 4 * * 5-7", vec!["Fri 01-01 04:00:00", "Sat 01-02 04:00:00", "Sun 01-03 04:00:00"]),
        ("0 4 * * Sat-Mon", vec!["Sat 01-02 04:00:00", "Sun 01-03 04:00:00", "Mon 01-04 04:00:00"]),
        ("0 4 * * 1-5/2", vec!["Fri 01-01 04:00:00", "Mon 01-04 04:00:00", "Wed 01-06 04:00:00"]),
        ("0 4 * * 3/2", vec!["Fri 01-01 04:00:00", "Wed 01-06 04:00:00"]),
        ("0 4 * * */3", vec!["Sat 01-02 04:00:00", "Sun 01-03 04:00:00", "Wed 01-06 04:00:00"]),
        ("30 0 4 * * 1", vec!["Mon 01-04 04:00:30"]),
    ] {
        assert_eq!(first(pattern, expected.len()), expected, "{pattern}");
    }
}

#[test]
fn restricted_day_of_month_and_day_of_week_are_either_or() {
    let expected = ["Mon 01-04 04:00:00", "Mon 01-11 04:00:00", "Wed 01-13 04:00:00"];
    assert_eq!(first("0 4 13 * 1", 3), expected);
    // A field that begins with a star is not a restriction: both must fit.
    assert_eq!(first("0 4 */2 * 1", 2), ["Mon 01-11 04:00:00", "Mon 01-25 04:00:00"]);
    assert_eq!(first("0 4 13 * ?", 1), ["Wed 01-13 04:00:00"]);
}

#[test]
fn all_forms_are_read() {
    assert_eq!(first("*/20 * * * *", 2), ["Fri 01-01 00:00:00", "Fri 01-01 00:20:00"]);
    assert_eq!(first("*/30 * * * * *", 2), ["Fri 01-01 00:00:00", "Fri 01-01 00:00:30"]);
    assert_eq!(first("0 0 0 1 1 * 2028-2030", 1), ["Sat 01-01 00:00:00"]);
    assert_eq!(first("0 0 1 feb,Mar-apr *", 2), ["Mon 02-01 00:00:00", "Mon 03-01 00:00:00"]);
    assert_eq!(first("@hourly", 2), ["Fri 01-01 00:00:00", "Fri 01-01 01:00:00"]);
    assert_eq!(first("@daily", 2), first("@midnight", 2));
    assert_eq!(first("@weekly", 1), ["Sun 01-03 00:00:00"]);
    assert_eq!(first("@monthly", 2), ["Fri 01-01 00:00:00", "Mon 02-01 00:00:00"]);
    assert_eq!(first("@yearly", 2), first("@annually", 2));
    assert_eq!(first("0 0 29 2 *", 1), ["Tue 02-29 00:00:00"]);
}

#[test]
fn what_is_wrong_is_named() {
    for (pattern, expected) in [
        ("61 4 * * *", "`61` does not fit the minute: use 0-59, `*`, lists"),
        ("0 25 * * *", "`25` does not fit the hour: use 0-23"),
        ("0 4 0 * *", "`0` does not fit the day of month: use 1-31"),
        ("0 4 * 13 *", "`13` does not fit the month: use 1-12 or Jan-Dec"),
        ("0 4 * * 8", "`8` does not fit the day of week: use 0-7 or Sun-Sat"),
        ("0 4 * * Mond-", "`Mond-` does not fit the day of week"),
        ("0 4 * * 1/0", "`1/0` does not fit the day of week"),
        ("*/0 * * * *", "`*/0` does not fit the minute"),
        ("0 4 * * * * 1950", "`1950` does not fit the year"),
        ("0 4 * *", "`0 4 * *` has 4 fields: cron has five"),
        ("0 0 30 2 *", "`0 0 30 2 *` never happens"),
        (
            "@dayly",
            "`@dayly` is not known: use @hourly, @daily, @weekly, @monthly or @yearly; did you mean `@daily`?",
        ),
        ("@every 5m", "`@every 5m` is not known"),
    ] {
        let error = pattern.parse::<CronSchedule>().expect_err(pattern).to_string();
        assert!(error.starts_with(expected), "{pattern}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let long = "1,".repeat(PATTERN_MAX);
    assert_eq!(long.parse::<CronSchedule>(), Err(CronError::TooLong));
}

#[test]
fn outside_of_the_known_years_nothing_fires() {
    let every_second = cron("* * * * * *");
    let berlin = zone("Europe/Berlin");
    for now in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC, utc("1969-12-31T23:00:00Z")] {
        assert_eq!(every_second.next_after(now, &berlin), None);
        assert_eq!(every_second.last_until(now, &berlin), None);
    }
    // A Pi without a clock of its own starts here.
    let start = utc("1970-01-01T00:00:00Z");
    let adak = zone("America/Adak");
    assert_eq!(every_second.last_until(start, &adak), None);
    // Its clock shows 1969, so the first known time is its new year.
    assert_eq!(every_second.next_after(start, &adak), Some(utc("1970-01-01T11:00:00Z")));
}

/// Whether a pattern written as sets fits a time: the slow and simple way.
struct Sets {
    minutes: u32,
    hour: u32,
    day: Option<u32>,
    weekday: Option<u32>,
}

impl Sets {
    fn pattern(&self) -> String {
        let or_star = |part: Option<u32>| part.map_or("*".to_owned(), |part| part.to_string());
        let (day, weekday) = (or_star(self.day), or_star(self.weekday));
        format!("*/{} {} {day} * {weekday}", self.minutes, self.hour)
    }

    fn fits(&self, wall: NaiveDateTime) -> bool {
        let day = self.day.map(|day| day == wall.day());
        let weekday = self.weekday.map(|day| day % 7 == wall.weekday().num_days_from_sunday());
        let day_fits = match (day, weekday) {
            (Some(day), Some(weekday)) => day || weekday,
            (day, weekday) => day.unwrap_or(true) && weekday.unwrap_or(true),
        };
        day_fits && wall.hour() == self.hour && wall.minute().is_multiple_of(self.minutes)
    }
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(text in "[-0-9*/,? a-zA-Z@]{0,60}", any in ".{0,60}") {
        let _ = text.parse::<CronSchedule>();
        let _ = any.parse::<CronSchedule>();
    }

    #[test]
    fn next_and_last_are_those_of_a_calendar_walked_by_the_minute(
        minutes in 1u32..60,
        hour in 0u32..24,
        day in proptest::option::of(1u32..=31),
        weekday in proptest::option::of(0u32..=7),
        start in 0i64..500_000,
    ) {
        let sets = Sets { minutes, hour, day, weekday };
        let schedule = cron(&sets.pattern());
        let beginning = NaiveDate::from_ymd_opt(2027, 1, 1).expect("a day").and_time(NaiveTime::MIN);
        let now = beginning + Duration::minutes(start);
        let walk = |step: i64| (0..100_000).map(move |count| now + Duration::minutes(step * count));
        let next = walk(1).skip(1).find(|wall| sets.fits(*wall)).map(|wall| wall.and_utc());
        let last = walk(-1).find(|wall| sets.fits(*wall)).map(|wall| wall.and_utc());
        proptest::prop_assert_eq!(schedule.next_after(now.and_utc(), &Zone::utc()), next);
        proptest::prop_assert_eq!(schedule.last_until(now.and_utc(), &Zone::utc()), last);
    }
}
