//! Durations as people write them: `90s`, `15m`, `1h 30m`.
//!
//! The units are those of the `humantime` crate. It accepts some texts with an unintended meaning
//! (`1 0s` is ten seconds) and its arithmetic can overflow, so its input is checked first.

use std::time::Duration;

use crate::core::text::shown;

/// Longest duration text in bytes: all units together need less.
const TEXT_MAX: usize = 64;

/// Most digits in one number: with [`TEXT_MAX`] it keeps every sum of years inside 64 bits of
/// seconds.
const DIGITS_MAX: usize = 9;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("a duration is missing: write it like `90s`, `15m` or `1h 30m`")]
    Empty,
    #[error("`{0}` has no unit: write `{0}s`, `{0}m` or `{0}h`")]
    NoUnit(String),
    /// A word that is not a unit.
    #[error("`{0}` is not a unit of time: use s, m, h, d or w")]
    Unit(String),
    /// Too long for 64 bits.
    #[error("`{0}` is too long a duration")]
    TooLong(String),
    /// Anything else.
    #[error("`{0}` is not a duration: write it like `90s`, `15m` or `1h 30m`")]
    Malformed(String),
}

/// Reads a duration.
///
/// # Errors
/// Names the invalid part, and how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationError::NoUnit(shown(text)));
    }
    if !text.is_ascii() || text.len() > TEXT_MAX || has_interrupted_number(text) {
        return Err(DurationError::Malformed(shown(text)));
    }
    if longest_number(text) > DIGITS_MAX {
        return Err(DurationError::TooLong(shown(text)));
    }
    humantime::parse_duration(text).map_err(|error| in_our_words(text, error))
}

fn in_our_words(text: &str, error: humantime::DurationError) -> DurationError {
    match error {
        humantime::DurationError::UnknownUnit { unit, value, .. } if unit.is_empty() => {
            DurationError::NoUnit(value.to_string())
        }
        humantime::DurationError::UnknownUnit { unit, .. } => DurationError::Unit(unit),
        humantime::DurationError::NumberOverflow => DurationError::TooLong(shown(text)),
        _ => DurationError::Malformed(shown(text)),
    }
}

/// Whether two numbers follow each other without a unit between them.
fn has_interrupted_number(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        let ends_in_number = word.ends_with(|end: char| end.is_ascii_digit() || end == '.');
        let number_follows = words.peek().is_some_and(|next| next.starts_with(is_digit));
        if ends_in_number && number_follows {
            return true;
        }
    }
    false
}

fn longest_number(text: &str) -> usize {
    text.split(|letter| !is_digit(letter)).map(str::len).max().unwrap_or(0)
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// Writes a duration so that [`parse_duration`] reads the same one: `1h 30m`, `2d`, `1s 500ms`.
///
/// Days are the largest unit: a month is 30.44 days in `humantime`, which users do not expect.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 7] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let mut rest = duration.as_nanos();
    let mut parts = Vec::new();
    for (size, unit) in UNITS {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            (" 15m ", 900),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("2 h", 7200),
            ("1 day 2 hours", 93_600),
            ("0", 0),
            ("0s", 0),
            ("1y", 31_557_600),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_named() {
        for (text, expected) in [
            ("", "a duration is missing: write it like `90s`, `15m` or `1h 30m`"),
            ("90", "`90` has no unit: write `90s`, `90m` or `90h`"),
            ("1h 30", "`30` has no unit: write `30s`, `30m` or `30h`"),
            ("5 minuts", "`minuts` is not a unit of time: use s, m, h, d or w"),
            ("9999999999h", "`9999999999h` is too long a duration"),
            ("1 0s", "`1 0s` is not a duration: write it like `90s`, `15m` or `1h 30m`"),
            ("-5m", "`-5m` is not a duration: write it like `90s`, `15m` or `1h 30m`"),
            ("soon", "`soon` is not a duration: write it like `90s`, `15m` or `1h 30m`"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn arithmetic_at_the_edge_of_64_bits_is_refused() {
        let text = "18446744073709551615s 500ms 500ms";
        assert!(matches!(parse_duration(text), Err(DurationError::TooLong(_))));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "[ 0-9.a-zµ-]{0,80}", any in ".{0,80}") {
            let _ = parse_duration(&text);
            let _ = parse_duration(&any);
        }

        #[test]
        fn what_is_written_is_read_back(
            seconds in 0u64..900_000_000,
            nanos in 0u32..1_000_000_000,
        ) {
            let duration = Duration::new(seconds, nanos);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
