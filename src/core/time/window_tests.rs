//! Tables and properties of windows, mainly summer time.

use proptest::prelude::*;

use super::*;
use crate::core::time::zone::zone;

fn windows(text: &str) -> Windows {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in UTC")
}

#[test]
fn a_window_is_open_between_its_times() {
    // 2027-01-01 is a Friday.
    for (text, now, expected) in [
        ("", "2027-01-01T12:00:00Z", true),
        ("  ", "2027-01-01T12:00:00Z", true),
        ("01:00-05:00", "2027-01-01T00:59:59Z", false),
        ("01:00-05:00", "2027-01-01T01:00:00Z", true),
        ("01:00-05:00", "2027-01-01T04:59:59Z", true),
        ("01:00-05:00", "2027-01-01T05:00:00Z", false),
        ("1:00 - 5:00", "2027-01-01T02:00:00Z", true),
        ("00:00-24:00", "2027-01-01T23:59:59Z", true),
        ("22:00-24:00", "2027-01-02T00:00:00Z", false),
        ("22:00-00:00", "2027-01-01T23:59:59Z", true),
        ("Mon-Fri 09:00-17:00", "2027-01-01T10:00:00Z", true),
        ("Mon-Fri 09:00-17:00", "2027-01-02T10:00:00Z", false),
        ("mon - friday 09:00-17:00", "2027-01-01T10:00:00Z", true),
        ("Sat-Mon 09:00-17:00", "2027-01-03T10:00:00Z", true),
        ("Sat-Mon 09:00-17:00", "2027-01-05T10:00:00Z", false),
        // Across midnight it belongs to the day on which it begins.
        ("22:00-02:00", "2027-01-01T23:00:00Z", true),
        ("22:00-02:00", "2027-01-01T01:59:00Z", true),
        ("22:00-02:00", "2027-01-01T02:00:00Z", false),
        ("Fri 22:00-02:00", "2027-01-01T01:00:00Z", false),
        ("Fri 22:00-02:00", "2027-01-02T01:00:00Z", true),
        ("Sun 22:00-02:00", "2027-01-04T01:00:00Z", true),
        ("Mon-Thu 01:00-02:00, Fri 12:00-13:00", "2027-01-01T12:30:00Z", true),
        ("Mon-Thu 01:00-02:00, Fri 12:00-13:00", "2027-01-01T01:30:00Z", false),
    ] {
        assert_eq!(windows(text).contains(utc(now), &Zone::utc()), expected, "{text} at {now}");
    }
}

#[test]
fn what_is_no_window_is_named() {
    for (text, expected) in [
        ("soon", "`soon` is not a window: write `01:00-05:00` or `Mon-Fri 09:00-17:00`"),
        ("01:00", "`01:00` is not a window: write `01:00-05:00` or `Mon-Fri 09:00-17:00`"),
        ("01:00-25:00", "`25:00` in `01:00-25:00` is not a time of day: write 00:00 to 24:00"),
        ("01:00-05:60", "`05:60` in `01:00-05:60` is not a time of day: write 00:00 to 24:00"),
        ("01:00-24:01", "`24:01` in `01:00-24:01` is not a time of day: write 00:00 to 24:00"),
        ("01:00-5", "`5` in `01:00-5` is not a time of day: write 00:00 to 24:00"),
        (
            "01:00-05:00, Mo 09:00-17:00",
            "`Mo` in `Mo 09:00-17:00` is not a day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
        ),
        (
            "Mon-Fry 09:00-17:00",
            "`Fry` in `Mon-Fry 09:00-17:00` is not a day of the week: write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
        ),
        ("Sat, Sun 10:00-12:00", "`Sat` has no times: write `Sat 00:00-24:00` for the whole day"),
        ("05:00-05:00", "`05:00-05:00` is empty: write 00:00-24:00 for the whole day"),
        ("24:00-00:00", "`24:00-00:00` is empty: write 00:00-24:00 for the whole day"),
        (
            "01:00-05:00,",
            "there is nothing between two commas, or at the end of the list of windows",
        ),
    ] {
        assert_eq!(text.parse::<Windows>().expect_err(text).to_string(), expected);
    }
    let many = vec!["01:00-02:00"; WINDOWS_MAX + 1].join(",");
    assert_eq!(many.parse::<Windows>(), Err(WindowError::TooMany));
}

#[test]
fn the_next_opening_follows_the_clock_on_the_wall() {
    for (name, text, now, expected) in [
        ("UTC", "01:00-05:00", "2027-01-01T00:00:00Z", "2027-01-01T01:00:00Z"),
        ("UTC", "01:00-05:00", "2027-01-01T03:00:30Z", "2027-01-01T03:00:30Z"),
        ("UTC", "01:00-05:00", "2027-01-01T05:00:00Z", "2027-01-02T01:00:00Z"),
        ("UTC", "Fri 01:00-05:00", "2027-01-01T05:00:00Z", "2027-01-08T01:00:00Z"),
        ("UTC", "Mon 01:00-02:00, Sun 05:00-06:00", "2027-01-01T05:00:00Z", "2027-01-03T05:00:00Z"),
        ("Europe/Berlin", "04:00-05:00", "2027-07-01T00:00:00Z", "2027-07-01T02:00:00Z"),
        // Spring: the window begins in the gap, and ends after it.
        ("Europe/Berlin", "02:30-05:00", "2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z"),
        // Spring: the window lies wholly in the gap, and the day is left out.
        ("Europe/Berlin", "02:00-03:00", "2027-03-28T00:30:00Z", "2027-03-29T00:00:00Z"),
        // Only that Sunday of the week: the next one.
        ("Europe/Berlin", "Sun 02:00-03:00", "2027-03-28T00:30:00Z", "2027-04-04T00:00:00Z"),
        // Autumn: the repeated hour opens it again.
        ("Europe/Berlin", "02:10-02:30", "2027-10-31T00:30:00Z", "2027-10-31T01:10:00Z"),
        ("Europe/Berlin", "01:00-02:30", "2027-10-31T00:45:00Z", "2027-10-31T01:00:00Z"),
        ("America/New_York", "02:30-05:00", "2027-03-14T06:00:00Z", "2027-03-14T07:00:00Z"),
        ("America/New_York", "01:10-01:30", "2027-11-07T05:30:00Z", "2027-11-07T06:10:00Z"),
        ("Australia/Lord_Howe", "02:10-02:20", "2027-10-02T15:00:00Z", "2027-10-03T15:10:00Z"),
        ("Australia/Lord_Howe", "01:40-01:50", "2027-04-03T14:55:00Z", "2027-04-03T15:10:00Z"),
        // The clock was put forward at midnight.
        ("America/Sao_Paulo", "00:30-05:00", "2018-11-04T02:00:00Z", "2018-11-04T03:00:00Z"),
    ] {
        let opening = windows(text).next_opening(utc(now), &zone(name));
        assert_eq!(opening, Some(utc(expected)), "{name} {text} at {now}");
    }
}

#[test]
fn a_night_window_is_open_for_as_long_as_the_wall_says() {
    let minutes = |name: &str, from: &str| {
        let zone = zone(name);
        let night = windows("01:00-05:00");
        let start = utc(from);
        (0..24 * 60)
            .filter(|minute| night.contains(start + chrono::Duration::minutes(*minute), &zone))
            .count()
    };
    assert_eq!(minutes("Europe/Berlin", "2027-01-14T12:00:00Z"), 240);
    assert_eq!(minutes("Europe/Berlin", "2027-03-27T12:00:00Z"), 180);
    assert_eq!(minutes("Europe/Berlin", "2027-10-30T12:00:00Z"), 300);
    assert_eq!(minutes("Australia/Lord_Howe", "2027-10-02T03:00:00Z"), 210);
    assert_eq!(minutes("Australia/Lord_Howe", "2027-04-03T03:00:00Z"), 270);
}

#[test]
fn the_ends_of_the_calendar_do_not_panic() {
    let berlin = zone("Europe/Berlin");
    for now in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
        let _ = windows("Fri 22:00-02:00").contains(now, &berlin);
        let _ = windows("Fri 22:00-02:00").next_opening(now, &berlin);
    }
}

fn texts() -> impl Strategy<Value = String> {
    let days = prop::sample::select(vec!["", "Mon ", "Sat-Mon ", "Sun ", "Tue-Fri "]);
    (days, 0u32..1440, 0u32..=1440).prop_filter_map("an empty window", |(days, start, end)| {
        let text =
            format!("{days}{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60);
        (start % DAY != end % DAY).then_some(text)
    })
}

fn zones() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
        .prop_map(zone)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn parsing_never_panics(text in ".{0,80}", likely in "[-A-Za-z0-9:, ]{0,40}") {
        let _ = text.parse::<Windows>();
        let _ = likely.parse::<Windows>();
    }

    #[test]
    fn what_is_printed_is_read_back(texts in prop::collection::vec(texts(), 0..4)) {
        let windows = windows(&texts.join(","));
        prop_assert_eq!(windows.to_string().parse(), Ok(windows));
    }

    #[test]
    fn the_next_opening_is_the_one_found_by_waiting(
        text in texts(),
        zone in zones(),
        change in prop::sample::select(vec![
            "2027-03-28T01:00:00Z", "2027-10-31T01:00:00Z", "2027-03-14T07:00:00Z",
            "2027-11-07T06:00:00Z", "2027-10-02T15:30:00Z", "2027-04-03T15:00:00Z",
        ]),
        minutes in -3000i64..1000,
    ) {
        let windows = windows(&text);
        let now = utc(change) + chrono::Duration::minutes(minutes);
        let waited = (0..16 * 1440)
            .map(|minute| now + chrono::Duration::minutes(minute))
            .find(|instant| windows.contains(*instant, &zone));
        prop_assert_eq!(windows.next_opening(now, &zone), waited);
    }
}
