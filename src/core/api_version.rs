//! Versions of the Docker Engine API.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the Docker Engine API, such as 1.41.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiVersion {
    /// 1, so far.
    pub major: u32,
    /// Counts up with every release of the Engine that changes its API.
    pub minor: u32,
}

impl ApiVersion {
    /// The version `major.minor`.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

/// The text is not of the form `MAJOR.MINOR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an API version like 1.41")]
pub struct NotAVersion(String);

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (major, minor) = text.split_once('.')?;
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        };
        parse().ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The version to speak with an Engine that offers `lowest` to `highest`: the newest that both
/// know, or the Engine's oldest where it no longer speaks any of ours (better tried than given up).
#[must_use]
pub fn negotiate(lowest: ApiVersion, highest: ApiVersion, ours: ApiVersion) -> ApiVersion {
    highest.min(ours).max(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_not_by_letter() {
        let version = |text: &str| text.parse::<ApiVersion>().expect("a version");
        assert!(version("1.9") < version("1.41"));
        assert_eq!(version("1.41").to_string(), "1.41");
        for wrong in ["", "1", "1.x", "a.b", "1.2.3"] {
            assert!(wrong.parse::<ApiVersion>().is_err(), "{wrong}");
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
