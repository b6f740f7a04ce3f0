//! Origins of values, and errors in them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::core::text::shown;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The default.
    Default,
    /// The configuration file.
    File {
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable with this name.
    Variable(String),
    /// The command line.
    Flag,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}, line {line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Flag => formatter.write_str("command line"),
        }
    }
}

/// Why there is no valid configuration. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was asked for does not exist.
    #[error("there is no configuration file {}: check the path", .path.display())]
    Missing {
        /// The path that was given.
        path: PathBuf,
    },
    /// The file exists, but cannot be read.
    #[error("cannot read the configuration file {}: {source}; it must be a text file that the user the agent runs as may read", .path.display())]
    Unreadable {
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("the configuration file {} is larger than {limit} bytes: check the path", .path.display())]
    TooLarge {
        path: PathBuf,
        /// The largest size in bytes.
        limit: u64,
    },
    /// The file is not TOML.
    #[error("{origin}: this is not TOML: {message}")]
    Syntax {
        origin: ValueOrigin,
        /// The parser's message, on one line.
        message: String,
    },
    /// An unknown key.
    #[error("{origin}: there is no key `{key}`{hint}")]
    UnknownKey {
        /// The whole key.
        key: String,
        origin: ValueOrigin,
        /// A suggestion; may be empty.
        hint: String,
    },
    /// An unknown variable with Pilotfish's prefix.
    #[error(
        "environment variable {variable} sets no key{hint}; unset it if it is not meant for Pilotfish"
    )]
    UnknownVariable {
        variable: String,
        /// A suggestion; may be empty.
        hint: String,
    },
    /// A value of the wrong TOML type.
    #[error("{origin}: `{key}` is {found}: write {expected}")]
    WrongType {
        /// The whole key.
        key: String,
        origin: ValueOrigin,
        expected: &'static str,
        found: &'static str,
    },
    /// A value that cannot be used.
    #[error("{origin}: `{key}` cannot be {}: {why}", quoted(.value))]
    BadValue {
        /// The whole key, or the variable if there is no key.
        key: String,
        origin: ValueOrigin,
        value: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Two keys in one place that exclude each other.
    #[error("{origin}: `schedule.every` and `schedule.cron` exclude each other: keep one of them")]
    TwoSchedules {
        /// The origin of the second one.
        origin: ValueOrigin,
    },
}

/// A value for an error. A text with an `@` inside may be a URL with a password.
fn quoted(value: &str) -> String {
    if value.trim_start().find('@').is_some_and(|at| at > 0) {
        return "this value (not shown: it may hold a password)".to_owned();
    }
    format!("\"{}\"", shown(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_password_is_not_repeated() {
        let error = ConfigError::BadValue {
            key: "docker_host".into(),
            origin: ValueOrigin::Variable("DOCKER_HOST".into()),
            value: "tcp://user:secret@host".into(),
            why: "no users".into(),
        };
        let expected = "environment variable DOCKER_HOST: `docker_host` cannot be this value (not shown: it may hold a password): no users";
        assert_eq!(error.to_string(), expected);
    }
}
