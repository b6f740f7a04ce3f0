//! Which hosts are asked for a registry, and which of them may be used without TLS.

use std::net::IpAddr;

use reqwest::Url;

use crate::core::docker::reference::DOCKER_HUB;

/// The host of Docker Hub's registry (`registry/config.go` of the Engine).
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// One host that is asked for a registry's images.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::registry) struct RegistryEndpoint {
    /// The name for settings and logins: the registry's, or the mirror's own.
    pub registry: String,
    /// `HOST` or `HOST:PORT`, as in a URL.
    pub host: String,
    /// Whether plain HTTP is allowed if the host does not speak TLS.
    pub plain_http: bool,
}

impl RegistryEndpoint {
    /// The registry itself.
    pub fn of_registry(registry: &str, plain_http: bool) -> Self {
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        Self {
            registry: registry.to_owned(),
            host: host.to_owned(),
            plain_http: plain_http || is_loopback(host),
        }
    }

    /// A mirror as written in `registry-mirrors`; `None` if it is not a host.
    ///
    /// The Engine refuses a path, a query and a login in it, too (`ValidateMirror`).
    pub fn of_mirror(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://").unwrap_or(("https", text));
        let host = host.strip_suffix('/').unwrap_or(host);
        let url: Url = format!("{scheme}://{host}").parse().ok()?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !matches!(scheme, "http" | "https") || !is_bare || !is_plain || url.host().is_none() {
            return None;
        }
        let plain_http = scheme == "http" || is_loopback(host);
        Some(Self { registry: host.to_owned(), host: host.to_owned(), plain_http })
    }
}

/// Whether a `HOST:PORT` is this machine. The Engine allows it without TLS (`127.0.0.0/8` and `::1`
/// are its built-in `insecure-registries`).
pub(in crate::registry) fn is_loopback(host: &str) -> bool {
    host_name(host).eq_ignore_ascii_case("localhost")
        || address_of(host).is_some_and(|address| address.is_loopback())
}

/// The address of a `HOST:PORT` that is written as an address.
pub(in crate::registry) fn address_of(host: &str) -> Option<IpAddr> {
    host_name(host).parse().ok()
}

/// The host without its port, and an IPv6 address without its brackets.
pub(in crate::registry) fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.split(':').next().unwrap_or(host)
}

/// The `HOST:PORT` of a URL as in settings: without the default port of the scheme.
pub(in crate::registry) fn host_of(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_the_engine_takes_for_it() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["127.0.0.1.example.org", "10.0.0.1:5000", "[fe80::1]:5000", "localhost.lan"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn docker_hub_is_asked_at_its_own_host() {
        assert_eq!(RegistryEndpoint::of_registry("docker.io", false).host, "registry-1.docker.io");
        assert_eq!(RegistryEndpoint::of_registry("registry:443", false).host, "registry:443");
        assert!(RegistryEndpoint::of_registry("localhost:5000", false).plain_http);
        assert!(!RegistryEndpoint::of_registry("registry:443", false).plain_http);
    }

    #[test]
    fn a_mirror_is_a_host() {
        let mirror =
            |text| RegistryEndpoint::of_mirror(text).map(|mirror| (mirror.host, mirror.plain_http));
        assert_eq!(mirror("https://mirror.gcr.io"), Some(("mirror.gcr.io".into(), false)));
        assert_eq!(mirror("https://mirror:443/"), Some(("mirror:443".into(), false)));
        assert_eq!(mirror("http://10.0.0.2:5000"), Some(("10.0.0.2:5000".into(), true)));
        assert_eq!(mirror("mirror:5000"), Some(("mirror:5000".into(), false)));
        for wrong in ["", "ftp://x", "https://x/path", "https://u:p@x", "https://x?y", "a b"] {
            assert_eq!(mirror(wrong), None, "{wrong}");
        }
    }
}
