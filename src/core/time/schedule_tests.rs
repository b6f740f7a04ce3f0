//! Tables and properties of the schedule, mainly summer time.

use proptest::prelude::*;

use super::*;
use crate::core::time::wall_clock::reading;
use crate::core::time::zone::zone;

const NO_JITTER: Jitter = Jitter::Percent(0);
const FIRST: DeviceFraction = DeviceFraction(0);
const MIDDLE: DeviceFraction = DeviceFraction(1 << 63);
const LAST: DeviceFraction = DeviceFraction(u64::MAX);

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in UTC")
}

/// All times at which a schedule fires between two instants, found by its delays.
fn walk(
    text: &str,
    zone: &Zone,
    (from, until): (&str, &str),
    device: DeviceFraction,
    jitter: Jitter,
) -> Vec<DateTime<Utc>> {
    let schedule = schedule(text);
    let mut now = utc(from);
    let mut fired = Vec::new();
    loop {
        now += schedule.next_delay(now, zone, device, jitter);
        if now >= utc(until) {
            return fired;
        }
        fired.push(now);
    }
}

fn walk_in_words(text: &str, zone: &Zone, span: (&str, &str)) -> String {
    let fired = walk(text, zone, span, FIRST, NO_JITTER);
    let words = fired.iter().map(|now| now.format("%H:%M").to_string());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn schedules_are_read_as_people_write_them() {
    for (text, expected) in [
        ("30m", "30m"),
        ("1h 30m", "1h 30m"),
        ("90 minutes", "1h 30m"),
        ("1s", "1s"),
        ("1y", "365d 6h"),
        ("0 4 * * *", "0 4 * * *"),
        ("  0  4 * *   Mon ", "0 4 * * Mon"),
        ("@daily", "@daily"),
    ] {
        assert_eq!(schedule(text).to_string(), expected);
    }
}

#[test]
fn what_is_no_schedule_is_named() {
    for (text, expected) in [
        ("", "a schedule is missing: write an interval (`30m`) or cron (`0 4 * * *`, `@daily`)"),
        ("500ms", "`500ms` is too short: the shortest interval is 1s"),
        ("0s", "`0s` is too short: the shortest interval is 1s"),
        ("2y", "`2y` is too long: the longest interval is one year (`1y`)"),
        ("15", "`15` has no unit: write `15s`, `15m` or `15h`"),
        ("15 minuts", "`minuts` is not a unit of time: use s, m, h, d or w"),
        ("often", "`often` is not a duration: write it like `90s`, `15m` or `1h 30m`"),
    ] {
        assert_eq!(text.parse::<Schedule>().expect_err(text).to_string(), expected);
    }
    let error = "* * *".parse::<Schedule>().expect_err("three fields").to_string();
    assert!(error.starts_with("`* * *` has 3 fields"), "{error}");
}

#[test]
fn jitter_is_read_as_people_write_it() {
    for (text, expected) in
        [("10%", Ok(Jitter::Percent(10))), ("0", Ok(Jitter::Span(Duration::ZERO)))]
    {
        assert_eq!(text.parse(), expected);
    }
    assert_eq!("2m".parse(), Ok(Jitter::Span(Duration::from_secs(120))));
    for text in ["101%", "-1%", "1.5%", "%", "ten", "10"] {
        assert!(text.parse::<Jitter>().is_err(), "{text}");
    }
}

#[test]
fn an_interval_starts_at_the_devices_place_and_is_exact_then() {
    let now = utc("2027-01-01T00:00:00Z");
    let berlin = zone("Europe/Berlin");
    let first = |interval: &str, device, jitter: &str| {
        let jitter = jitter.parse().expect("a jitter");
        schedule(interval).first_delay(now, &berlin, device, jitter).as_secs()
    };
    assert_eq!(first("15m", MIDDLE, "10%"), 450);
    assert_eq!(first("15m", FIRST, "10%"), 0);
    assert_eq!(first("15m", LAST, "10%"), 899);
    assert_eq!(first("15m", MIDDLE, "20s"), 450);
    // Without jitter there is no wait.
    assert_eq!(first("15m", LAST, "0%"), 0);
    assert_eq!(first("15m", LAST, "0s"), 0);
    // The first wait of a long interval is limited, unless the jitter is longer.
    assert_eq!(first("1d", MIDDLE, "1%"), 1800);
    assert_eq!(first("1d", MIDDLE, "10%"), 4320);
    let next = schedule("15m").next_delay(now, &berlin, LAST, Jitter::Percent(10));
    assert_eq!(next, Duration::from_secs(900));
}

#[test]
fn cron_is_spread_by_its_gap_and_keeps_its_place() {
    let day = ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z");
    let fired = walk("0 */6 * * *", &Zone::utc(), day, MIDDLE, Jitter::Percent(10));
    let words: Vec<_> = fired.iter().map(|now| now.format("%H:%M").to_string()).collect();
    assert_eq!(words, ["00:18", "06:18", "12:18", "18:18"]);
    // A device that starts between the hour and its own place does not miss the round.
    let cron = schedule("0 */6 * * *");
    let now = utc("2027-01-01T06:10:00Z");
    let delay = cron.first_delay(now, &Zone::utc(), MIDDLE, Jitter::Percent(10));
    assert_eq!(delay, Duration::from_secs(8 * 60));
}

#[test]
fn the_last_device_of_a_full_jitter_stays_before_the_following_time() {
    let day = ("2027-01-01T00:00:00Z", "2027-01-01T03:00:00Z");
    for jitter in [Jitter::Percent(100), Jitter::Span(Duration::from_secs(86_400))] {
        let fired = walk("0 * * * *", &Zone::utc(), day, LAST, jitter);
        assert_eq!(fired.len(), 3);
        assert!(fired[0] < utc("2027-01-01T01:00:00Z"));
        assert!(fired[0] > utc("2027-01-01T00:59:59Z"));
    }
}

#[test]
fn summer_time_neither_leaves_out_nor_doubles_a_time() {
    for (name, pattern, span, expected) in [
        // Berlin, spring: 02:00 becomes 03:00 at 01:00 UTC.
        (
            "Europe/Berlin",
            "30 2 * * *",
            ("2027-03-27T00:00:00Z", "2027-03-30T00:00:00Z"),
            "01:30 01:00 00:30",
        ),
        (
            "Europe/Berlin",
            "*/30 1-3 * * *",
            ("2027-03-27T23:30:00Z", "2027-03-28T03:00:00Z"),
            "00:00 00:30 01:00 01:30",
        ),
        (
            "Europe/Berlin",
            "0 4 * * *",
            ("2027-03-27T00:00:00Z", "2027-03-29T12:00:00Z"),
            "03:00 02:00 02:00",
        ),
        // Berlin, autumn: 03:00 becomes 02:00 at 01:00 UTC.
        (
            "Europe/Berlin",
            "30 2 * * *",
            ("2027-10-30T00:00:00Z", "2027-11-02T00:00:00Z"),
            "00:30 00:30 01:30",
        ),
        (
            "Europe/Berlin",
            "*/30 * * * *",
            ("2027-10-30T23:45:00Z", "2027-10-31T02:45:00Z"),
            "00:00 00:30 02:00 02:30",
        ),
        // New York, spring at 07:00 UTC, autumn at 06:00 UTC.
        (
            "America/New_York",
            "30 2 * * *",
            ("2027-03-13T05:00:00Z", "2027-03-16T05:00:00Z"),
            "07:30 07:00 06:30",
        ),
        (
            "America/New_York",
            "30 1 * * *",
            ("2027-11-06T04:00:00Z", "2027-11-09T04:00:00Z"),
            "05:30 05:30 06:30",
        ),
        // Lord Howe: half an hour, spring at 15:30 UTC the day before, autumn at 15:00 UTC.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            ("2027-10-01T13:00:00Z", "2027-10-04T13:00:00Z"),
            "15:45 15:30 15:15",
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            ("2027-04-02T13:00:00Z", "2027-04-05T13:00:00Z"),
            "14:45 14:45 15:15",
        ),
    ] {
        assert_eq!(walk_in_words(pattern, &zone(name), span), expected, "{name} {pattern}");
    }
}

#[test]
fn a_daily_time_fires_once_on_each_day_of_a_year() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"].map(zone) {
        for pattern in ["30 2 * * *", "30 1 * * *", "45 1 * * *", "15 2 * * *", "0 0 * * *"] {
            let year = ("2026-12-31T12:00:00Z", "2027-12-31T12:00:00Z");
            let fired = walk(pattern, &zone, year, FIRST, NO_JITTER);
            let mut days: Vec<_> = fired.iter().map(|now| reading(*now, &zone).date()).collect();
            assert_eq!(days.len(), 365, "{zone} {pattern}");
            days.dedup();
            assert_eq!(days.len(), 365, "{zone} {pattern}");
        }
    }
}

#[test]
fn a_pattern_that_is_over_waits_for_a_year() {
    let over = schedule("0 0 0 1 1 * 2020");
    let berlin = zone("Europe/Berlin");
    let delay = over.next_delay(utc("2027-01-01T00:00:00Z"), &berlin, LAST, Jitter::Percent(100));
    assert_eq!(delay, INTERVAL_MAX);
    let delay = schedule("@hourly").next_delay(DateTime::<Utc>::MAX_UTC, &berlin, FIRST, NO_JITTER);
    assert_eq!(delay, INTERVAL_MAX);
}

#[test]
fn the_fraction_of_a_device_is_steady_and_spread() {
    let fraction = DeviceFraction::from_identity("4c5a1c5e0e6b4c4b9d7c8a2f6e1d3b5a");
    assert_eq!(fraction, DeviceFraction::from_identity("4c5a1c5e0e6b4c4b9d7c8a2f6e1d3b5a\n"));
    let minute = |device: u32| {
        DeviceFraction::from_identity(&format!("device-{device}")).of(Duration::from_secs(10))
    };
    let mut tenths = [0; 10];
    for device in 0..1000 {
        tenths[usize::try_from(minute(device).as_secs()).expect("below ten")] += 1;
    }
    assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
}

fn patterns() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "30 2 * * *",
        "*/30 * * * *",
        "*/7 1-3 * * *",
        "0 0 1 * *",
        "15 1 13 * 5",
        "@hourly",
        "@weekly",
        "*/20 * * * * *",
        "15m",
    ])
}

fn zones() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
        .prop_map(zone)
}

fn fractions() -> impl Strategy<Value = DeviceFraction> {
    prop_oneof![Just(FIRST), Just(LAST), any::<u64>().prop_map(DeviceFraction)]
}

fn jitters() -> impl Strategy<Value = Jitter> {
    let span = (0u64..200_000).prop_map(|seconds| Jitter::Span(Duration::from_secs(seconds)));
    prop_oneof![(0u8..=100).prop_map(Jitter::Percent), span]
}

/// Instants around the changes of 2027 in all the zones, and anywhere in that year.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    let changes = [
        "2027-03-28T01:00:00Z",
        "2027-10-31T01:00:00Z",
        "2027-03-14T07:00:00Z",
        "2027-11-07T06:00:00Z",
        "2027-10-02T15:30:00Z",
        "2027-04-03T15:00:00Z",
    ];
    let around = (prop::sample::select(changes.to_vec()), -8000i64..8000)
        .prop_map(|(change, seconds)| utc(change) + chrono::Duration::seconds(seconds));
    let anywhere = (0i64..31_536_000_000).prop_map(|milliseconds| {
        utc("2027-01-01T00:00:00Z") + chrono::Duration::milliseconds(milliseconds)
    });
    prop_oneof![around, anywhere]
}

proptest! {
    #[test]
    fn parsing_never_panics(text in ".{0,80}", likely in "[0-9a-z*/ @%-]{0,40}") {
        let _ = text.parse::<Schedule>();
        let _ = likely.parse::<Schedule>();
        let _ = text.parse::<Jitter>();
        let _ = likely.parse::<Jitter>();
    }

    #[test]
    fn what_is_printed_is_read_back(seconds in 1u64..31_557_600, pattern in patterns()) {
        let every = Schedule::Every(Duration::from_secs(seconds));
        prop_assert_eq!(every.to_string().parse(), Ok(every));
        let schedule = schedule(pattern);
        prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
    }

    #[test]
    fn the_next_time_is_later_and_the_order_stays(
        pattern in patterns(),
        zone in zones(),
        device in fractions(),
        jitter in jitters(),
        now in instants(),
        later in 0i64..100_000,
    ) {
        let schedule = schedule(pattern);
        let next = |now: DateTime<Utc>| {
            let delay = schedule.next_delay(now, &zone, device, jitter);
            assert!(delay > Duration::ZERO && delay <= INTERVAL_MAX);
            now + delay
        };
        let later = now + chrono::Duration::seconds(later);
        prop_assert!(next(now) > now);
        prop_assert!(next(now) <= next(later));
        // A later question before that time gives the same time.
        if matches!(schedule, Schedule::Cron(_)) && later < next(now) {
            prop_assert_eq!(next(now), next(later));
        }
    }

    #[test]
    fn a_share_is_never_the_whole(fraction in any::<u64>(), seconds in 1u64..4_000_000_000) {
        let span = Duration::from_secs(seconds);
        prop_assert!(DeviceFraction(fraction).of(span) < span);
    }
}
