//! The Engine's address, as Docker's own client reads it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::environment::{DOCKER_CERT_PATH, DOCKER_TLS_VERIFY, Environment};
use crate::config::error::{ConfigError, ValueOrigin};
use crate::core::docker::authority::{AuthorityError, in_brackets, split_authority};

/// The Engine's port without TLS (Docker's documentation of `DOCKER_HOST`).
const PORT: u16 = 2375;

/// Why a text is not the address of an Engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerHostError {
    /// `ssh://`.
    #[error("ssh:// is not supported: run the agent on that machine, or use tcp:// with TLS")]
    Ssh,
    /// Another scheme, or none.
    #[error("write `unix:///var/run/docker.sock` or `tcp://HOST:PORT`")]
    Form,
    /// A path that does not begin with a slash.
    #[error("the path of a socket begins with a slash: write `unix:///var/run/docker.sock`")]
    Path,
    /// No host.
    #[error("a tcp:// Engine needs a host: write `tcp://HOST:PORT`")]
    NoHost,
    /// Host or port are invalid.
    #[error("{0}; write `tcp://HOST:PORT` with nothing before or after it")]
    Authority(#[from] AuthorityError),
}

/// The address of the Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerHost {
    /// A socket on this machine.
    Unix(PathBuf),
    /// Another machine. Images pulled there cannot be flushed from here before a switch.
    Tcp {
        /// A host name or an address, without brackets.
        host: String,
        port: u16,
    },
}

impl FromStr for DockerHost {
    type Err = DockerHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(DockerHostError::Form)?;
        match scheme {
            "unix" if rest.starts_with('/') && rest.len() > 1 => Ok(Self::Unix(rest.into())),
            "unix" => Err(DockerHostError::Path),
            "tcp" => parse_tcp(rest),
            "ssh" => Err(DockerHostError::Ssh),
            _ => Err(DockerHostError::Form),
        }
    }
}

fn parse_tcp(rest: &str) -> Result<DockerHost, DockerHostError> {
    let (host, port) = split_authority(rest.strip_suffix('/').unwrap_or(rest))?;
    let host = host.ok_or(DockerHostError::NoHost)?;
    Ok(DockerHost::Tcp { host, port: port.unwrap_or(PORT) })
}

impl fmt::Display for DockerHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp { host, port } => {
                write!(formatter, "tcp://{}:{port}", in_brackets(Some(host)))
            }
        }
    }
}

/// TLS settings for a `tcp://` Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerTls {
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`.
    pub cert_path: PathBuf,
    /// Whether the Engine's certificate must be valid for its host.
    pub verify: bool,
}

impl DockerTls {
    /// Reads Docker's variables: TLS if either is set, verified if `DOCKER_TLS_VERIFY` is not
    /// empty, with the certificates in Docker's own directory unless `DOCKER_CERT_PATH` names
    /// another one.
    pub(super) fn from_environment(environment: &Environment) -> Result<Option<Self>, ConfigError> {
        let asked = environment.filled(DOCKER_TLS_VERIFY);
        let verify = asked.is_some();
        let cert_path = environment.filled(DOCKER_CERT_PATH).map(PathBuf::from);
        let cert_path = cert_path.or_else(|| asked.and_then(|_| docker_directory(environment)));
        match (cert_path, asked) {
            (Some(cert_path), _) => Ok(Some(Self { cert_path, verify })),
            (None, None) => Ok(None),
            // TLS was asked for, so the connection must not fall back to plain TCP.
            (None, Some(value)) => Err(ConfigError::BadValue {
                key: DOCKER_TLS_VERIFY.to_owned(),
                origin: ValueOrigin::Variable(DOCKER_TLS_VERIFY.to_owned()),
                value: value.to_owned(),
                why: format!("there is no HOME to find certificates in: set {DOCKER_CERT_PATH}"),
            }),
        }
    }
}

/// The configuration directory of Docker's client.
fn docker_directory(environment: &Environment) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(environment.filled("HOME")?).join(".docker"));
    environment.filled("DOCKER_CONFIG").map(PathBuf::from).or_else(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_does() {
        for (text, expected) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://pi:2376", "tcp://pi:2376"),
            ("tcp://192.0.2.1/", "tcp://192.0.2.1:2375"),
            ("tcp://[::1]:2375", "tcp://[::1]:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
        ] {
            let host: DockerHost = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(host.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for (text, expected) in [
            ("ssh://pi", DockerHostError::Ssh),
            ("", DockerHostError::Form),
            ("/var/run/docker.sock", DockerHostError::Form),
            ("http://pi:2375", DockerHostError::Form),
            ("npipe:////./pipe/docker_engine", DockerHostError::Form),
            ("unix://run/docker.sock", DockerHostError::Path),
            ("unix:///", DockerHostError::Path),
            ("tcp://", DockerHostError::NoHost),
            ("tcp://:2375", DockerHostError::NoHost),
            ("tcp://pi/path", AuthorityError::Host.into()),
            ("tcp://user:secret@pi", AuthorityError::Host.into()),
            ("tcp://pi:0", AuthorityError::Port("0".into()).into()),
        ] {
            assert_eq!(text.parse::<DockerHost>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn tls_follows_dockers_variables() {
        let tls = |variables: &[(&str, &str)]| {
            let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let environment = Environment { variables: pairs.collect(), local_zone: None };
            let tls = DockerTls::from_environment(&environment).map_err(|error| error.to_string());
            tls.map(|tls| tls.map(|tls| (tls.cert_path, tls.verify)))
        };
        let (verify, path) = ((DOCKER_TLS_VERIFY, "1"), (DOCKER_CERT_PATH, "/certs"));
        let (home, config) = (("HOME", "/root"), ("DOCKER_CONFIG", "/cfg"));
        assert_eq!(tls(&[home]), Ok(None));
        assert_eq!(tls(&[(DOCKER_TLS_VERIFY, ""), home]), Ok(None));
        assert_eq!(tls(&[verify, path]), Ok(Some(("/certs".into(), true))));
        assert_eq!(tls(&[path]), Ok(Some(("/certs".into(), false))));
        assert_eq!(tls(&[verify, home]), Ok(Some(("/root/.docker".into(), true))));
        let error = tls(&[verify]).expect_err("no directory");
        assert!(error.ends_with("set DOCKER_CERT_PATH"), "{error}");
        assert_eq!(tls(&[verify, home, config]), Ok(Some(("/cfg".into(), true))));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "(unix://|tcp://|tcp://\\[|).{0,40}") {
            let _ = text.parse::<DockerHost>();
        }
    }
}
