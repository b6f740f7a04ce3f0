//! A probe from outside, for images without a HEALTHCHECK: `http://:8080/healthz`, `tcp://:5432`,
//! `exec:CMD "an argument"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::core::docker::authority::{AuthorityError, in_brackets, split_authority};
use crate::core::text::shown;

/// Port of an `http://` probe without one (RFC 9110, 4.2.1).
const HTTP_PORT: u16 = 80;

/// Longest probe in bytes: a command line, not a script.
const PROBE_MAX: usize = 4096;

/// Why a text is not a probe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// None of the three forms.
    #[error("`{0}` is not a probe: write `http://:8080/healthz`, `tcp://:5432` or `exec:CMD`")]
    Form(String),
    /// A probe with TLS.
    #[error(
        "a probe does not speak https: use http:// or tcp://, or exec: with a client in the image"
    )]
    Https,
    /// A `tcp://` probe without a port.
    #[error("a tcp:// probe needs a port: write `tcp://:5432`")]
    NoPort,
    /// Invalid host or port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Text after the port of a `tcp://` probe, or characters that a path does not have.
    #[error("`{0}` is not a path: use letters, digits and signs as in a URL, without blanks")]
    Path(String),
    #[error("exec: needs a command: write `exec:CMD`")]
    NoCommand,
    /// A quotation without an end.
    #[error("a quotation mark is not closed, or the text ends with a backslash")]
    Quote,
    #[error("a probe has at most {PROBE_MAX} characters")]
    TooLong,
}

/// How a container's health is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A GET request that must be answered.
    Http {
        /// A host name or an address without brackets; absent: the container's own.
        host: Option<String>,
        port: u16,
        /// The path with its query, from the slash on.
        path: String,
    },
    /// A TCP connection that must succeed.
    Tcp {
        /// A host name or an address without brackets; absent: the container's own.
        host: Option<String>,
        port: u16,
    },
    /// A command inside the container that must exit with 0. Never empty; no shell reads it.
    Exec(Vec<String>),
}

impl Probe {
    /// The host in the probe; `None`: the probe goes to the container itself.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Http { host, .. } | Self::Tcp { host, .. } => host.as_deref(),
            Self::Exec(_) => None,
        }
    }
}

impl FromStr for Probe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > PROBE_MAX {
            return Err(ProbeError::TooLong);
        }
        if let Some(rest) = text.strip_prefix("http://") {
            return parse_http(rest);
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return parse_tcp(rest);
        }
        if let Some(command) = text.strip_prefix("exec:") {
            return parse_exec(command);
        }
        let is_https = text.starts_with("https://");
        Err(if is_https { ProbeError::Https } else { ProbeError::Form(shown(text)) })
    }
}

fn parse_http(rest: &str) -> Result<Probe, ProbeError> {
    let path_start = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_start);
    let (host, port) = split_authority(authority)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(ProbeError::Path(shown(&path)));
    }
    Ok(Probe::Http { host, port: port.unwrap_or(HTTP_PORT), path })
}

fn parse_tcp(rest: &str) -> Result<Probe, ProbeError> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(slash) = authority.find('/') {
        return Err(ProbeError::Path(shown(&authority[slash..])));
    }
    let (host, port) = split_authority(authority)?;
    Ok(Probe::Tcp { host, port: port.ok_or(ProbeError::NoPort)? })
}

fn parse_exec(command: &str) -> Result<Probe, ProbeError> {
    let words = split_command_line(command)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(Probe::Exec(words)),
        _ => Err(ProbeError::NoCommand),
    }
}

/// Splits as a shell would, but expands nothing: blanks separate, `'…'` takes all as it is, `"…"`
/// takes all but `\"` and `\\`, and a backslash outside takes the next character as it is.
pub(super) fn split_command_line(text: &str) -> Result<Vec<String>, ProbeError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            blank if blank.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => read_quoted(letter, &mut letters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(letters.next().ok_or(ProbeError::Quote)?),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote.
fn read_quoted(
    mark: char,
    letters: &mut std::str::Chars<'_>,
    word: &mut String,
) -> Result<(), ProbeError> {
    while let Some(letter) = letters.next() {
        match letter {
            end if end == mark => return Ok(()),
            '\\' if mark == '"' => {
                let next = letters.next().ok_or(ProbeError::Quote)?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            plain => word.push(plain),
        }
    }
    Err(ProbeError::Quote)
}

impl fmt::Display for Probe {
    /// As it would be written in a label.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, port, path } => {
                write!(formatter, "http://{}:{port}{path}", in_brackets(host.as_deref()))
            }
            Self::Tcp { host, port } => {
                write!(formatter, "tcp://{}:{port}", in_brackets(host.as_deref()))
            }
            Self::Exec(words) => {
                let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
                write!(formatter, "exec:{}", quoted.join(" "))
            }
        }
    }
}

fn quote(word: &str) -> String {
    let needs_none = |letter: char| !letter.is_whitespace() && !matches!(letter, '\'' | '"' | '\\');
    if !word.is_empty() && word.chars().all(needs_none) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(host: Option<&str>, port: u16, path: &str) -> Probe {
        Probe::Http { host: host.map(str::to_owned), port, path: path.to_owned() }
    }

    fn tcp(host: Option<&str>, port: u16) -> Probe {
        Probe::Tcp { host: host.map(str::to_owned), port }
    }

    fn exec(words: &[&str]) -> Probe {
        Probe::Exec(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn probes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("http://:8080/healthz", http(None, 8080, "/healthz")),
            ("http://:8080", http(None, 8080, "/")),
            ("http://web/ready?full=1", http(Some("web"), 80, "/ready?full=1")),
            ("http://:80?x", http(None, 80, "/?x")),
            ("http://[::1]:81/", http(Some("::1"), 81, "/")),
            ("http://[::1]/", http(Some("::1"), 80, "/")),
            ("tcp://:5432", tcp(None, 5432)),
            ("tcp://my_db.local:5432/", tcp(Some("my_db.local"), 5432)),
            ("exec:true", exec(&["true"])),
            ("exec: redis-cli  ping", exec(&["redis-cli", "ping"])),
            (r#"exec:sh -c "echo \"a b\" '\n'""#, exec(&["sh", "-c", r#"echo "a b" '\n'"#])),
            (r#"exec:a '' 'b "c"' d\ e f"g"'h'"#, exec(&["a", "", "b \"c\"", "d e", "fgh"])),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_probe_is_named() {
        for (text, expected) in [
            ("", ProbeError::Form(String::new())),
            (":8080/healthz", ProbeError::Form(":8080/healthz".into())),
            ("https://:8443/", ProbeError::Https),
            ("tcp://db", ProbeError::NoPort),
            ("tcp://", ProbeError::NoPort),
            ("tcp://:0", AuthorityError::Port("0".into()).into()),
            ("http://:x/", AuthorityError::Port("x".into()).into()),
            ("tcp://:1/x", ProbeError::Path("/x".into())),
            ("http://:1/a b", ProbeError::Path("/a b".into())),
            ("http://:1/#top", ProbeError::Path("/#top".into())),
            ("http://[::1/", AuthorityError::Host.into()),
            ("http://user:secret@host/", AuthorityError::Host.into()),
            ("exec:", ProbeError::NoCommand),
            ("exec:'' a", ProbeError::NoCommand),
            ("exec:a 'b", ProbeError::Quote),
            ("exec:a \"b\\", ProbeError::Quote),
            ("exec:a \\", ProbeError::Quote),
        ] {
            let error = text.parse::<Probe>().expect_err(text);
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("secret"));
        }
        let long = format!("exec:{}", "a".repeat(PROBE_MAX));
        assert_eq!(long.parse::<Probe>(), Err(ProbeError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}", rest in "(http://|tcp://|exec:).{0,40}") {
            let _ = text.parse::<Probe>();
            let _ = rest.parse::<Probe>();
        }

        #[test]
        fn what_is_printed_is_read_back(
            words in proptest::collection::vec("[a-z \"'\\\\\n]{0,8}", 1..5),
            host in proptest::option::of("[a-z]{1,9}"),
            port in 1u16..,
            path in "/[a-z/?=]{0,9}",
        ) {
            let words = [vec!["cmd".to_owned()], words].concat();
            for probe in [
                Probe::Exec(words),
                Probe::Tcp { host: host.clone(), port },
                Probe::Http { host, port, path },
            ] {
                proptest::prop_assert_eq!(probe.to_string().parse(), Ok(probe));
            }
        }
    }
}
