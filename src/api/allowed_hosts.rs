//! The host names that this machine answers to.
//!
//! A web page can make the name of its own server resolve to an address of this machine (DNS
//! rebinding), and a browser then lets it read the answers from here. The name that the page uses
//! is in the `Host` header, so an unknown name is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::core::docker::authority::split_authority;
use crate::core::text::shown;

/// Top-level names that no registrar sells (RFC 6762, RFC 8375, ICANN's reserved names): below
/// them, the local network gives the machine its name.
const LOCAL_DOMAINS: [&str; 6] = ["local", "lan", "home", "internal", "localdomain", "home.arpa"];

/// The accepted host names, in addition to addresses and loopback names.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    /// The machine's own name, in lower case.
    own: Option<String>,
    /// The names from the configuration.
    allowed: Vec<String>,
}

impl AllowedHosts {
    /// A machine with this name, and the names of `listen.hosts`; `*` allows every name.
    #[must_use]
    pub fn new(own: Option<&str>, allowed: &[String]) -> Self {
        let lower = |name: &str| name.trim().to_ascii_lowercase();
        Self {
            own: own.map(lower).filter(|name| !name.is_empty()),
            allowed: allowed.iter().map(|name| lower(name)).collect(),
        }
    }

    /// Whether a request for this `HOST` or `HOST:PORT` is for this machine.
    fn knows(&self, authority: &str) -> bool {
        if self.allowed.iter().any(|name| name == "*") {
            return true;
        }
        let authority = authority.strip_suffix(':').unwrap_or(authority);
        let Ok((Some(host), _)) = split_authority(authority) else { return false };
        let host = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
        host.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.is_own(&host)
            || self.allowed.contains(&host)
    }

    fn is_own(&self, host: &str) -> bool {
        let Some(own) = &self.own else { return false };
        let short = own.split('.').next().unwrap_or(own);
        let behind = host.strip_prefix(short).and_then(|rest| rest.strip_prefix('.'));
        host == own || host == short || behind.is_some_and(|it| LOCAL_DOMAINS.contains(&it))
    }

    /// The unknown name in a request, if there is one. A request without a name comes from
    /// HTTP/1.0, which no browser uses.
    fn external_container(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let told = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or("?"));
        let in_uri = uri.authority().map(axum::http::uri::Authority::as_str);
        told.chain(in_uri).find(|name| !self.knows(name)).map(str::to_owned)
    }
}

/// Only lets requests with a known name pass.
pub fn guarded(router: Router, hosts: AllowedHosts) -> Router {
    router.layer(from_fn_with_state(Arc::new(hosts), check))
}

async fn check(State(hosts): State<Arc<AllowedHosts>>, request: Request, next: Next) -> Response {
    match hosts.external_container(request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(name) => (StatusCode::MISDIRECTED_REQUEST, refusal(&name)).into_response(),
    }
}

fn refusal(name: &str) -> String {
    format!(
        "this machine does not answer to the name {}: use one of its addresses, or add the name to \
         listen.hosts\n",
        shown(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let hosts = AllowedHosts::new(Some("Pi"), &["metrics.example.com".to_owned()]);
        for known in [
            "localhost",
            "localhost:9788",
            "LOCALHOST.",
            "a.localhost:1",
            "127.0.0.1:9788",
            "192.168.1.9",
            "[::1]:9788",
            "[fe80::1]",
            "pi",
            "PI:9788",
            "pi.",
            "pi.local",
            "pi.lan:1",
            "pi.home.arpa",
            "metrics.example.com:9788",
            "Metrics.Example.Com",
            "pi:",
        ] {
            assert!(hosts.knows(known), "{known}");
        }
        for external_container in [
            "evil.example",
            "evil.example:9788",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "pi.evil.example",
            "evil",
            "",
            ":9788",
            "0x7f.1",
            "localhost@evil.example",
            "[::1",
            "[::1]evil",
            "pi.local.evil.example",
            "metrics.example.com.evil.example",
            "local",
            "a/localhost",
            "*",
        ] {
            assert!(!hosts.knows(external_container), "{external_container}");
        }
        assert!(!AllowedHosts::new(None, &[]).knows("pi"));
        assert!(AllowedHosts::new(None, &["*".to_owned()]).knows("evil.example"));
        assert!(AllowedHosts::new(Some("pi.example.net"), &[]).knows("pi.example.net"));
    }

    #[test]
    fn each_name_in_a_request_counts() {
        let hosts = AllowedHosts::new(None, &[]);
        let mut headers = HeaderMap::new();
        let uri = |text: &str| text.parse::<Uri>().expect("a URI");
        assert_eq!(hosts.external_container(&uri("/"), &headers), None);
        let absolute = hosts.external_container(&uri("http://evil.example/"), &headers);
        assert_eq!(absolute.as_deref(), Some("evil.example"));
        headers.append(header::HOST, "localhost".parse().expect("a value"));
        assert_eq!(hosts.external_container(&uri("/"), &headers), None);
        headers.append(header::HOST, "evil.example".parse().expect("a value"));
        assert_eq!(hosts.external_container(&uri("/"), &headers).as_deref(), Some("evil.example"));
    }
}
