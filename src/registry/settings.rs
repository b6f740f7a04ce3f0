//! What may be set about registries, and the limits of every call to one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached, beyond what Docker's own files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Per registry, under the name that references use: `docker.io`, `registry:443`.
    pub hosts: BTreeMap<String, HostSettings>,
    /// Where the Engine keeps a CA and a client certificate per host: `/etc/docker/certs.d`.
    pub certs_dir: PathBuf,
    /// The docker configuration with the logins. Absent: `DOCKER_CONFIG` or
    /// `~/.docker/config.json`.
    pub docker_config: Option<PathBuf>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            docker_config: None,
        }
    }
}

/// One registry's own settings. The password itself never stands here, so `Debug` may show all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Certificates to trust for this host, in PEM, beside all others.
    pub ca_file: Option<PathBuf>,
    /// Whether the host may be spoken to without TLS, if it does not speak TLS.
    pub plain_http: bool,
    /// Mirrors asked before the registry itself, in this order: `https://mirror:443`, or a host.
    /// One with `http://` may speak without TLS.
    pub mirrors: Vec<String>,
    /// The user name of a login that wins over the docker configuration.
    pub username: Option<String>,
    /// The file with the password that belongs to it. One line break at its end is no part of it.
    pub password_file: Option<PathBuf>,
}

/// The time-outs and pauses of every call. Others than the default are for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time to a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time for one exchange: redirects and the whole body. A slow drip ends here.
    pub request_timeout: Duration,
    /// Longest time for a credential helper.
    pub helper_timeout: Duration,
    /// First pause after a failure.
    pub pause_first: Duration,
    /// Longest pause that is not the registry's own wish.
    pub pause_longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Three lost SYNs (1 + 2 + 4 s) on bad Wi-Fi still connect.
            connect_timeout: Duration::from_secs(10),
            // A manifest is a few kilobytes: whoever needs longer will not answer at all.
            request_timeout: Duration::from_secs(30),
            // A helper may wake a key agent; one that asks a person waits for ever.
            helper_timeout: Duration::from_secs(10),
            // Under the shortest sensible interval, so that the next round asks again.
            pause_first: Duration::from_secs(15),
            // Under the default interval of 15 minutes, with its jitter: no round is lost.
            pause_longest: Duration::from_secs(10 * 60),
        }
    }
}

/// Settings that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A mirror is not `HOST`, `HOST:PORT` or such a one behind `http://` or `https://`.
    #[error(
        "`{mirror}` is not a mirror for `{registry}`: write `https://HOST:PORT`, without a path"
    )]
    Mirror {
        /// The registry it was set for.
        registry: String,
        /// The text.
        mirror: String,
    },
    /// A user name without a password file, or the other way round.
    #[error("`username` and `password_file` of `{registry}` belong together, and one is missing")]
    HalfLogin {
        /// The registry it was set for.
        registry: String,
    },
}
