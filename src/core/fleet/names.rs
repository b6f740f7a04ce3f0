//! Names that are one level of a topic: of fleets, devices, builds, containers and services.
//!
//! All have the grammar of Docker's container names. So a name never holds `/`, `+` or `#`, which
//! have a meaning in topics and filters (MQTT 5, 4.7.1), never begins with `$`, which marks the
//! broker's own topics (4.7.2), and is shown on a terminal as it is.

use std::fmt;
use std::str::FromStr;

use crate::core::text::shown;

/// Longest name of a fleet, a device or a build in bytes. With mutual TLS the name of a device is
/// the common name of its certificate, which has at most 64 characters (RFC 5280,
/// `ub-common-name`).
pub const NAME_BYTES_MAX: usize = 64;

/// Longest name of a container or a service in bytes. The Engine has no limit for containers; a
/// topic has 65,535 bytes.
pub const SUBJECT_NAME_BYTES_MAX: usize = 255;

/// Why a text cannot be one level of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a group has no topic of its own: its members have")]
    Group,
    #[error("the name is empty: write a name of letters, digits, `.`, `_` and `-`")]
    Empty,
    #[error("the name has {length} bytes: shorten it to {max} or fewer")]
    TooLong { length: usize, max: usize },
    #[error("`{0}` begins with `{1}`: let it begin with a letter or a digit")]
    Begin(String, String),
    #[error(
        "`{0}` has the character `{1}`: use only letters without accents, digits, `.`, `_`, `-`"
    )]
    Character(String, String),
}

fn check(text: &str, max: usize) -> Result<(), NameError> {
    if text.len() > max {
        return Err(NameError::TooLong { length: text.len(), max });
    }
    let letter = |it: char| shown(&it.to_string());
    let is_wrong = |it: &char| !it.is_ascii_alphanumeric() && !matches!(it, '.' | '_' | '-');
    if let Some(wrong) = text.chars().find(is_wrong) {
        return Err(NameError::Character(shown(text), letter(wrong)));
    }
    match text.chars().next() {
        None => Err(NameError::Empty),
        Some(first) if first.is_ascii_alphanumeric() => Ok(()),
        Some(first) => Err(NameError::Begin(shown(text), letter(first))),
    }
}

/// A type for each kind of name, so that two of them cannot be exchanged.
macro_rules! name {
    ($name:ident, $max:expr) => {
        impl $name {
            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check(text, $max).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// The name of a fleet: its devices talk to each other, and to no other fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FleetName(String);
name!(FleetName, NAME_BYTES_MAX);

/// The name of a device. With mutual TLS it is the common name of the device's certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(String);
name!(DeviceName, NAME_BYTES_MAX);

impl DeviceName {
    /// The number at the end of the name, and the text before it: `till-` and 42 for `till-0042`.
    /// `None` without digits at the end, or if the number has more than 9 digits.
    #[must_use]
    pub fn number(&self) -> Option<(&str, u32)> {
        let text = self.0.trim_end_matches(|it: char| it.is_ascii_digit());
        let digits = &self.0[text.len()..];
        let number = digits.parse().ok().filter(|_| digits.len() <= 9)?;
        Some((text, number))
    }
}

/// The name of a build that a CI reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildName(String);
name!(BuildName, NAME_BYTES_MAX);

/// The name of a container or a service. Docker allows exactly these characters; they are checked
/// all the same, because messages come from other programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectName(String);
name!(SubjectName, SUBJECT_NAME_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_level_of_a_topic() {
        for name in ["home", "till-0042", "0", "a.b_c-d", "Kasse1"] {
            assert_eq!(name.parse::<DeviceName>().map(|it| it.to_string()), Ok(name.to_owned()));
            assert!(name.parse::<SubjectName>().is_ok() && name.parse::<FleetName>().is_ok());
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let use_only = "use only letters without accents, digits, `.`, `_`, `-`";
        for (name, error) in [
            ("", "the name is empty: write a name of letters, digits, `.`, `_` and `-`".to_owned()),
            ("a/b", format!("`a/b` has the character `/`: {use_only}")),
            ("+", format!("`+` has the character `+`: {use_only}")),
            ("a#", format!("`a#` has the character `#`: {use_only}")),
            ("$SYS", format!("`$SYS` has the character `$`: {use_only}")),
            ("a b", format!("`a b` has the character ` `: {use_only}")),
            ("a\n", format!("`a\\n` has the character `\\n`: {use_only}")),
            ("a\0", format!("`a\\u{{0}}` has the character `\\u{{0}}`: {use_only}")),
            ("süd", format!("`süd` has the character `ü`: {use_only}")),
            ("-a", "`-a` begins with `-`: let it begin with a letter or a digit".to_owned()),
            (&"x".repeat(65), "the name has 65 bytes: shorten it to 64 or fewer".to_owned()),
        ] {
            let found = name.parse::<DeviceName>().expect_err(name);
            assert_eq!(found.to_string(), error);
        }
        assert!("x".repeat(64).parse::<DeviceName>().is_ok());
        assert!("x".repeat(255).parse::<SubjectName>().is_ok());
        assert!("x".repeat(256).parse::<SubjectName>().is_err());
    }

    #[test]
    fn the_number_stands_at_the_end() {
        for (name, number) in [
            ("till-0042", Some(("till-", 42))),
            ("7", Some(("", 7))),
            ("pi4-3", Some(("pi4-", 3))),
            ("pi-999999999", Some(("pi-", 999_999_999))),
            ("pi-1000000000", None),
            ("till", None),
            ("till-1a", None),
        ] {
            let name: DeviceName = name.parse().expect("a name");
            assert_eq!(name.number(), number, "{name}");
        }
    }
}
