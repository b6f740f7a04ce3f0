//! What the clock on the wall shows, and when it shows it.
//!
//! Summer time makes some readings impossible and others happen twice. There is one rule for both:
//! a reading that does not exist stands for the end of the gap, one that exists twice for the first
//! of the two. So the instants of rising readings never fall.

use chrono::{DateTime, Duration, MappedLocalTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// What the clock in `zone` shows at `now`.
#[must_use]
pub fn reading(now: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    // A reading outside of what can be counted would panic; nobody lives within a day of it.
    let margin = Duration::days(1);
    let safe = now.clamp(DateTime::<Utc>::MIN_UTC + margin, DateTime::<Utc>::MAX_UTC - margin);
    safe.with_timezone(&zone).naive_local()
}

/// The first instant at which the clock in `zone` shows `wall`, or the end of the gap it lies in.
#[must_use]
pub fn instant_of(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
            instant.to_utc()
        }
        MappedLocalTime::None => GapInfo::new(&wall, &zone)
            .and_then(|gap| gap.end)
            .map_or_else(|| wall.and_utc(), |end| end.to_utc()),
    }
}

/// How long after its first the second showing of `wall` comes; zero where there is only one.
#[must_use]
pub fn repeats_after(wall: NaiveDateTime, zone: Tz) -> Duration {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Ambiguous(first, second) => second - first,
        _ => Duration::zero(),
    }
}

/// The instant between `from` and `until` at which the clock in `zone` is put forward or back.
///
/// Of several changes it finds one; a day has at most one.
#[must_use]
pub fn change_between(
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    zone: Tz,
) -> Option<DateTime<Utc>> {
    let is_like_the_start = |instant| offset(instant, zone) == offset(from, zone);
    if from >= until || is_like_the_start(until) {
        return None;
    }
    let (mut before, mut after) = (from.timestamp(), until.timestamp());
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if is_like_the_start(DateTime::from_timestamp(middle, 0)?) {
            before = middle;
        } else {
            after = middle;
        }
    }
    DateTime::from_timestamp(after, 0)
}

/// How far the clock in `zone` is ahead of UTC.
fn offset(instant: DateTime<Utc>, zone: Tz) -> Duration {
    reading(instant, zone) - instant.naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time in UTC")
    }

    fn wall(text: &str) -> NaiveDateTime {
        text.parse().expect("a wall-clock time")
    }

    #[test]
    fn readings_become_instants() {
        use chrono_tz::{America::New_York, Australia::Lord_Howe, Europe::Berlin, Pacific::Apia};
        for (zone, reading, expected) in [
            (Berlin, "2027-01-15T04:00:00", "2027-01-15T03:00:00Z"),
            // In the gap: its end.
            (Berlin, "2027-03-28T01:59:59", "2027-03-28T00:59:59Z"),
            (Berlin, "2027-03-28T02:00:00", "2027-03-28T01:00:00Z"),
            (Berlin, "2027-03-28T02:59:59", "2027-03-28T01:00:00Z"),
            (Berlin, "2027-03-28T03:00:00", "2027-03-28T01:00:00Z"),
            // Twice: the first.
            (Berlin, "2027-10-31T02:30:00", "2027-10-31T00:30:00Z"),
            (Berlin, "2027-10-31T03:00:00", "2027-10-31T02:00:00Z"),
            (New_York, "2027-03-14T02:30:00", "2027-03-14T07:00:00Z"),
            (New_York, "2027-11-07T01:30:00", "2027-11-07T05:30:00Z"),
            // Half an hour of summer time.
            (Lord_Howe, "2027-10-03T02:15:00", "2027-10-02T15:30:00Z"),
            (Lord_Howe, "2027-04-04T01:45:00", "2027-04-03T14:45:00Z"),
            // A whole day that never was.
            (Apia, "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(instant_of(wall(reading), zone), utc(expected), "{zone} {reading}");
        }
    }

    #[test]
    fn the_change_of_the_clock_is_found_to_the_second() {
        use chrono_tz::{Australia::Lord_Howe, Europe::Berlin};
        let change = |zone, from, until| change_between(utc(from), utc(until), zone);
        assert_eq!(
            change(Berlin, "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),
            Some(utc("2027-03-28T01:00:00Z"))
        );
        assert_eq!(
            change(Lord_Howe, "2027-04-03T13:00:00Z", "2027-04-04T13:00:00Z"),
            Some(utc("2027-04-03T15:00:00Z"))
        );
        assert_eq!(change(Berlin, "2027-06-01T00:00:00Z", "2027-06-02T00:00:00Z"), None);
        assert_eq!(change(Berlin, "2027-06-02T00:00:00Z", "2027-06-01T00:00:00Z"), None);
    }

    #[test]
    fn the_ends_of_countable_time_do_not_panic() {
        use chrono_tz::Pacific::Kiritimati;
        let _ = reading(DateTime::<Utc>::MAX_UTC, Kiritimati);
        let _ = reading(DateTime::<Utc>::MIN_UTC, chrono_tz::America::Adak);
    }

    proptest::proptest! {
        #[test]
        fn rising_readings_never_fall(start in 0i64..4_000_000_000, ahead in 0i64..200_000) {
            for zone in [chrono_tz::Europe::Berlin, chrono_tz::Australia::Lord_Howe] {
                let low = DateTime::from_timestamp(start, 0).expect("in range").naive_utc();
                let high = low + Duration::seconds(ahead);
                proptest::prop_assert!(instant_of(low, zone) <= instant_of(high, zone));
            }
        }
    }
}
