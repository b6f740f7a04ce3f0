//! Converts between instants and wall-clock times.
//!
//! Because of summer time some times do not exist and others exist twice. One rule covers both: a
//! time that does not exist means the end of the gap, a time that exists twice means the first of
//! the two. So later times never give earlier instants.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use jiff::tz::{AmbiguousOffset, Offset};

use crate::core::time::zone::Zone;

/// The wall-clock time in `zone` at `now`.
#[must_use]
pub fn reading(now: DateTime<Utc>, zone: &Zone) -> NaiveDateTime {
    // A time outside of the range would panic; no real clock is within a day of it.
    let margin = Duration::days(1);
    let safe = now.clamp(DateTime::<Utc>::MIN_UTC + margin, DateTime::<Utc>::MAX_UTC - margin);
    safe.naive_utc() + ahead(zone.offset_at(safe))
}

/// The first instant at which the clock in `zone` shows `wall`, or the end of the gap around it.
#[must_use]
pub fn instant_of(wall: NaiveDateTime, zone: &Zone) -> DateTime<Utc> {
    let as_utc = wall.and_utc();
    let instant = |offset| as_utc.checked_sub_signed(ahead(offset)).unwrap_or(as_utc);
    match zone.offset_when(wall) {
        AmbiguousOffset::Unambiguous { offset } => instant(offset),
        AmbiguousOffset::Fold { before, .. } => instant(before),
        AmbiguousOffset::Gap { before, after } => {
            // With the offset after the gap it would be too early, with the one before too late.
            let (early, late) = (instant(after), instant(before));
            change_between(early, late, zone).unwrap_or(late)
        }
    }
}

/// How long after its first occurrence `wall` occurs again; zero if it occurs only once.
#[must_use]
pub fn repeats_after(wall: NaiveDateTime, zone: &Zone) -> Duration {
    match zone.offset_when(wall) {
        AmbiguousOffset::Fold { before, after } => ahead(before) - ahead(after),
        _ => Duration::zero(),
    }
}

/// The instant between `from` and `until` at which the clock in `zone` is changed.
///
/// Of several changes it finds one; a day has at most one.
#[must_use]
pub fn change_between(
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    zone: &Zone,
) -> Option<DateTime<Utc>> {
    let is_like_the_start = |instant| zone.offset_at(instant) == zone.offset_at(from);
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

/// How far a clock with this offset is ahead of UTC.
fn ahead(offset: Offset) -> Duration {
    Duration::seconds(offset.seconds().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::time::zone::zone;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time in UTC")
    }

    fn wall(text: &str) -> NaiveDateTime {
        text.parse().expect("a wall-clock time")
    }

    #[test]
    fn readings_become_instants() {
        for (name, reading, expected) in [
            ("Europe/Berlin", "2027-01-15T04:00:00", "2027-01-15T03:00:00Z"),
            // In the gap: its end.
            ("Europe/Berlin", "2027-03-28T01:59:59", "2027-03-28T00:59:59Z"),
            ("Europe/Berlin", "2027-03-28T02:00:00", "2027-03-28T01:00:00Z"),
            ("Europe/Berlin", "2027-03-28T02:59:59", "2027-03-28T01:00:00Z"),
            ("Europe/Berlin", "2027-03-28T03:00:00", "2027-03-28T01:00:00Z"),
            // Twice: the first.
            ("Europe/Berlin", "2027-10-31T02:30:00", "2027-10-31T00:30:00Z"),
            ("Europe/Berlin", "2027-10-31T03:00:00", "2027-10-31T02:00:00Z"),
            ("America/New_York", "2027-03-14T02:30:00", "2027-03-14T07:00:00Z"),
            ("America/New_York", "2027-11-07T01:30:00", "2027-11-07T05:30:00Z"),
            // Half an hour of summer time.
            ("Australia/Lord_Howe", "2027-10-03T02:15:00", "2027-10-02T15:30:00Z"),
            ("Australia/Lord_Howe", "2027-04-04T01:45:00", "2027-04-03T14:45:00Z"),
            // A whole day that does not exist.
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(instant_of(wall(reading), &zone(name)), utc(expected), "{name} {reading}");
        }
    }

    #[test]
    fn the_change_of_the_clock_is_found_to_the_second() {
        let change = |name, from, until| change_between(utc(from), utc(until), &zone(name));
        assert_eq!(
            change("Europe/Berlin", "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),
            Some(utc("2027-03-28T01:00:00Z"))
        );
        assert_eq!(
            change("Australia/Lord_Howe", "2027-04-03T13:00:00Z", "2027-04-04T13:00:00Z"),
            Some(utc("2027-04-03T15:00:00Z"))
        );
        assert_eq!(change("Europe/Berlin", "2027-06-01T00:00:00Z", "2027-06-02T00:00:00Z"), None);
        assert_eq!(change("Europe/Berlin", "2027-06-02T00:00:00Z", "2027-06-01T00:00:00Z"), None);
    }

    #[test]
    fn the_ends_of_countable_time_do_not_panic() {
        let _ = reading(DateTime::<Utc>::MAX_UTC, &zone("Pacific/Kiritimati"));
        let _ = reading(DateTime::<Utc>::MIN_UTC, &zone("America/Adak"));
    }

    proptest::proptest! {
        #[test]
        fn rising_readings_never_fall(start in 0i64..4_000_000_000, ahead in 0i64..200_000) {
            for zone in ["Europe/Berlin", "Australia/Lord_Howe"].map(zone) {
                let low = DateTime::from_timestamp(start, 0).expect("in range").naive_utc();
                let high = low + Duration::seconds(ahead);
                proptest::prop_assert!(instant_of(low, &zone) <= instant_of(high, &zone));
            }
        }
    }
}
