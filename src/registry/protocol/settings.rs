//! Settings for registries, and the limits of every request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings for registries, in addition to Docker's own files.
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

/// One registry's own settings. They never contain the password itself, so `Debug` may show
/// everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// Additional trusted certificates for this host, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether plain HTTP is allowed if the host does not speak TLS.
    pub plain_http: bool,
    /// Mirrors asked before the registry itself, in this order: `https://mirror:443`, or a host. A
    /// mirror with `http://` may be used without TLS.
    pub mirrors: Vec<String>,
    /// The user name of a login that takes precedence over the docker configuration.
    pub username: Option<String>,
    /// The file with the password. One line break at its end is ignored.
    pub password_file: Option<PathBuf>,
}

/// The time-outs and pauses of every request. Only tests change the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time to a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time for one exchange: redirects and the whole body. A slow drip ends here.
    pub request_timeout: Duration,
    /// Longest time without a byte of a blob: from a source, or to a target.
    pub stall_timeout: Duration,
    /// Longest time for a credential helper.
    pub helper_timeout: Duration,
    /// First pause after a failure.
    pub pause_first: Duration,
    /// Longest pause that the registry did not ask for.
    pub pause_longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Three lost SYNs (1 + 2 + 4 s) on bad Wi-Fi still connect.
            connect_timeout: Duration::from_secs(10),
            // A manifest has a few kilobytes: a host that needs longer will not answer at all.
            request_timeout: Duration::from_secs(30),
            // A source that stalls without an end of the connection hangs other programs without a
            // limit. A Wi-Fi that changes its channel is silent for seconds.
            stall_timeout: Duration::from_secs(60),
            // A helper may start a key agent; a helper that asks a person would wait without a
            // limit.
            helper_timeout: Duration::from_secs(10),
            // Shorter than the shortest sensible interval, so that the next round asks again.
            pause_first: Duration::from_secs(15),
            // Shorter than the default interval of 15 minutes with its jitter: no round is lost.
            pause_longest: Duration::from_secs(10 * 60),
        }
    }
}

/// Invalid settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A mirror is not `HOST` or `HOST:PORT`, with or without `http://` or `https://`.
    #[error(
        "`{mirror}` is not a mirror for `{registry}`: write `https://HOST:PORT`, without a path"
    )]
    Mirror {
        /// The registry with this setting.
        registry: String,
        mirror: String,
    },
    /// A user name without a password file, or the other way round.
    #[error("`username` and `password_file` of `{registry}` belong together, and one is missing")]
    HalfLogin {
        /// The registry with this setting.
        registry: String,
    },
}
