//! The version of the Engine's API. It decides what a create body may contain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the Engine's API such as `1.41`. Ordered as numbers: `1.9` is before `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion {
    /// The part before the dot: 1 for all existing Engines.
    pub major: u32,
    /// The part after the dot.
    pub minor: u32,
}

impl ApiVersion {
    /// Debian 12, Synology: the oldest version this program is tested on.
    pub const V1_41: Self = Self::new(1, 41);

    /// Several networks at create, a MAC address per network (Engine 25).
    pub const V1_44: Self = Self::new(1, 44);

    /// The last version whose inspect shows which MAC address was requested (Engine 28).
    pub const V1_51: Self = Self::new(1, 51);

    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

/// A text that is not `MAJOR.MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of the Engine's API like `1.41`")]
pub struct ApiVersionError(String);

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ApiVersionError(text.to_owned());
        let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
        let number = |digits: &str| {
            // `u32::from_str` alone would accept a sign.
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or_else(wrong)
        };
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = ApiVersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.to_string()
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The version to use with an Engine that offers `lowest` to `highest`: the newest that both know,
/// or the Engine's oldest if it no longer offers any of ours, because a try is better than giving
/// up.
#[must_use]
pub fn negotiate(lowest: ApiVersion, highest: ApiVersion, ours: ApiVersion) -> ApiVersion {
    highest.min(ours).max(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_numbers() {
        let version = |text: &str| text.parse::<ApiVersion>().expect("a version");
        assert!(version("1.9") < version("1.41"));
        assert!(version("1.44") < version("2.0"));
        assert_eq!(version("1.41"), ApiVersion::V1_41);
        assert_eq!(version("1.51").to_string(), "1.51");
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in ["", "1", "1.", ".41", "v1.41", "1.41.2", "1.x", "-1.4", "1.+4", "1.4294967296"]
        {
            assert!(text.parse::<ApiVersion>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn both_directions_are_negotiated() {
        let v = |minor| ApiVersion::new(1, minor);
        assert_eq!(negotiate(v(12), v(41), v(51)), v(41), "an old Engine");
        assert_eq!(negotiate(v(44), v(60), v(51)), v(51), "a new Engine that still speaks ours");
        assert_eq!(negotiate(v(54), v(60), v(51)), v(54), "a new Engine that does not");
    }
}
