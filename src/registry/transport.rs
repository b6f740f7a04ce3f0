//! One exchange with a host: with or without TLS, and over redirects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{StatusCode, Url};
use tokio::time::Instant;

use crate::core::decide::quota::Quota;
use crate::registry::RegistryObserver;
use crate::registry::endpoint::{Endpoint, host_of, is_loopback};
use crate::registry::failure::{Failure, Trouble};
use crate::registry::settings::{Limits, RegistrySettings};
use crate::registry::wire::{Answer, Recipient, Request, Wire};

/// Most redirects of one exchange: registries need one, to where their blobs are.
const REDIRECTS_MAX: usize = 5;

/// How a host was found to speak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Tls,
    Plain,
}

/// Sends requests and knows how each host wants to be spoken to.
pub(super) struct Transport {
    wire: Wire,
    plain_hosts: BTreeSet<String>,
    schemes: Mutex<HashMap<String, Scheme>>,
}

impl Transport {
    /// `plain_hosts`: every host that somebody allowed to do without TLS.
    pub fn new(
        settings: &RegistrySettings,
        plain_hosts: BTreeSet<String>,
        limits: Limits,
        observer: Arc<dyn RegistryObserver>,
    ) -> Self {
        let wire = Wire::new(settings, limits, observer);
        Self { wire, plain_hosts, schemes: Mutex::default() }
    }

    /// What each registry said last of its quota.
    pub fn quotas(&self) -> BTreeMap<String, Quota> {
        self.wire.quotas.known(Instant::now().into_std())
    }

    /// Whether a host may be spoken to without TLS.
    pub fn may_speak_plain(&self, host: &str) -> bool {
        is_loopback(host) || self.plain_hosts.contains(host)
    }

    /// Asks a registry's host for a path, with TLS if it speaks it.
    pub async fn exchange(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: &Request,
    ) -> Result<Answer, Failure> {
        let deadline = self.wire.deadline();
        let (url, answer) = self.first(endpoint, path, request, deadline).await?;
        Ok(self.follow(endpoint, url, answer, request, deadline).await?)
    }

    /// Asks for a URL that a registry named. Whether its scheme is acceptable was decided before.
    pub async fn exchange_url(
        &self,
        endpoint: &Endpoint,
        url: Url,
        request: &Request,
    ) -> Result<Answer, Failure> {
        let deadline = self.wire.deadline();
        let authorization = request.authorization.as_ref();
        let answer = self.send(endpoint, &url, request, authorization, deadline).await?;
        Ok(self.follow(endpoint, url, answer, request, deadline).await?)
    }

    /// The first request, which finds out whether the host speaks TLS. Like the Engine, TLS is
    /// tried first even where plain http is allowed; a host that once spoke TLS, be it with a
    /// bad certificate, is never spoken to without it.
    async fn first(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Url, Answer), Trouble> {
        let known = self.scheme(&endpoint.host);
        if known == Some(Scheme::Plain) {
            return self.first_plain(endpoint, path, request, deadline).await;
        }
        let url = url_of("https", endpoint, path)?;
        let authorization = request.authorization.as_ref();
        match self.send(endpoint, &url, request, authorization, deadline).await {
            Err(trouble)
                if known.is_none() && endpoint.plain_http && is_no_tls(&trouble, endpoint) =>
            {
                self.first_plain(endpoint, path, request, deadline).await
            }
            Err(trouble) => {
                if trouble.concerns_trust() {
                    self.remember(endpoint, Some(Scheme::Tls));
                }
                Err(trouble)
            }
            Ok(answer) => {
                self.remember(endpoint, Some(Scheme::Tls));
                Ok((url, answer))
            }
        }
    }

    async fn first_plain(
        &self,
        endpoint: &Endpoint,
        path: &str,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Url, Answer), Trouble> {
        let url = url_of("http", endpoint, path)?;
        let authorization = request.authorization.as_ref();
        let answer = self.send(endpoint, &url, request, authorization, deadline).await;
        // A server that has learnt TLS since answers 400 to plain http, or nothing at all.
        let spoke = answer.as_ref().is_ok_and(|answer| answer.status != StatusCode::BAD_REQUEST);
        self.remember(endpoint, spoke.then_some(Scheme::Plain));
        Ok((url, answer?))
    }

    fn scheme(&self, host: &str) -> Option<Scheme> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
    }

    fn remember(&self, endpoint: &Endpoint, scheme: Option<Scheme>) {
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        match scheme {
            Some(scheme) => schemes.insert(endpoint.host.clone(), scheme),
            None => schemes.remove(&endpoint.host),
        };
    }

    /// Follows redirects. The login stays with the origin it was meant for, and once it was
    /// left behind it does not come back.
    async fn follow(
        &self,
        endpoint: &Endpoint,
        mut url: Url,
        mut answer: Answer,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let mut authorization = request.authorization.as_ref();
        for _ in 0..REDIRECTS_MAX {
            if !is_redirect(answer.status) {
                return Ok(answer);
            }
            let next = self.redirect_target(&url, &answer, request)?;
            if next.origin() != url.origin() {
                authorization = None;
            }
            answer = self.send(endpoint, &next, request, authorization, deadline).await?;
            url = next;
        }
        if is_redirect(answer.status) {
            return Err(Trouble::Redirect { host: host_of(&url), problem: "there are too many" });
        }
        Ok(answer)
    }

    fn redirect_target(
        &self,
        from: &Url,
        answer: &Answer,
        request: &Request,
    ) -> Result<Url, Trouble> {
        let refuse = |problem| Trouble::Redirect { host: host_of(from), problem };
        if request.form.is_some() {
            return Err(refuse("the request held a login"));
        }
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| refuse("it leads nowhere"))?;
        let mut next = from.join(location).map_err(|_| refuse("it leads nowhere"))?;
        let host = host_of(&next);
        match next.scheme() {
            "https" => {}
            "http" if from.scheme() == "http" && self.may_speak_plain(&host) => {}
            _ => return Err(refuse("it leads away from TLS")),
        }
        // A login in a URL would be sent along, and it is not ours.
        if next.set_username("").is_err() || next.set_password(None).is_err() {
            return Err(refuse("it leads nowhere"));
        }
        Ok(next)
    }

    /// One request of an exchange.
    async fn send(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        request: &Request,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let host = known_host(endpoint, url);
        let to = Recipient { registry: &endpoint.registry, host: &host, url };
        self.wire.send(&to, request, authorization, deadline).await
    }
}

fn url_of(scheme: &str, endpoint: &Endpoint, path: &str) -> Result<Url, Trouble> {
    let host = &endpoint.host;
    format!("{scheme}://{host}{path}").parse().map_err(|_| Trouble::Connect {
        host: host.clone(),
        problem: "it is not the name of a host".to_owned(),
    })
}

/// The name of a URL's host under which its certificates are kept: a registry that was written
/// as `registry:443` keeps that name, although a URL drops the port that `https` implies.
fn known_host(endpoint: &Endpoint, url: &Url) -> String {
    let own: Option<Url> = format!("{}://{}", url.scheme(), endpoint.host).parse().ok();
    match own {
        Some(own) if own.origin() == url.origin() => endpoint.host.clone(),
        _ => host_of(url),
    }
}

/// Whether a failed first request says that the host does not speak TLS at all.
fn is_no_tls(trouble: &Trouble, endpoint: &Endpoint) -> bool {
    match trouble {
        Trouble::NotTls { .. } | Trouble::HandshakeCut { .. } => true,
        // Without a port of its own, a host without TLS listens elsewhere.
        Trouble::Connect { .. } => host_has_no_port(&endpoint.host),
        _ => false,
    }
}

fn host_has_no_port(host: &str) -> bool {
    host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use reqwest::Method;
    use reqwest::header::HeaderMap;

    use super::*;

    struct Silent;

    impl RegistryObserver for Silent {
        fn request(&self, _: &str, _: &str) {}
        fn rate_limit_remaining(&self, _: &str, _: u64) {}
    }

    fn target(from: &str, location: &str, form: Option<&str>) -> Result<String, String> {
        let plain_hosts = BTreeSet::from(["plain:5000".to_owned()]);
        let settings = RegistrySettings::default();
        let transport = Transport::new(&settings, plain_hosts, Limits::default(), Arc::new(Silent));
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a value"));
        let answer = Answer { status: StatusCode::TEMPORARY_REDIRECT, headers, body: Vec::new() };
        let mut request = Request::new(Method::GET, 1);
        request.form = form.map(str::to_owned);
        let from = from.parse().expect("a URL");
        let target = transport.redirect_target(&from, &answer, &request);
        target.map(|url| url.to_string()).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn redirects_never_lead_away_from_tls() {
        let https = |location| target("https://r/v2/", location, None);
        assert_eq!(https("https://cdn/x?sig=1"), Ok("https://cdn/x?sig=1".to_owned()));
        assert_eq!(https("/blob"), Ok("https://r/blob".to_owned()));
        assert_eq!(https("https://user:pass@cdn/x"), Ok("https://cdn/x".to_owned()));
        let refused = |why: &str| Err(format!("r sent a redirect that is not followed: {why}"));
        assert_eq!(https("http://cdn/x"), refused("it leads away from TLS"));
        assert_eq!(https("http://127.0.0.1/x"), refused("it leads away from TLS"));
        assert_eq!(https("file:///etc/passwd"), refused("it leads away from TLS"));
        let http = |location| target("http://r/v2/", location, None);
        assert_eq!(http("http://plain:5000/x"), Ok("http://plain:5000/x".to_owned()));
        assert_eq!(http("http://elsewhere/x"), refused("it leads away from TLS"));
        let form = target("https://r/token", "https://r/other", Some("secret"));
        assert_eq!(form, refused("the request held a login"));
    }

    #[test]
    fn a_registry_keeps_the_port_it_was_written_with() {
        let endpoint = Endpoint::of_registry("registry:443", false);
        let known = |url: &str| known_host(&endpoint, &url.parse().expect("a URL"));
        assert_eq!(known("https://registry/v2/"), "registry:443");
        assert_eq!(known("https://registry:443/token"), "registry:443");
        assert_eq!(known("https://cdn.example.org/x"), "cdn.example.org");
        assert_eq!(known("https://registry:5000/x"), "registry:5000");
    }

    #[test]
    fn ports_are_told_from_addresses() {
        for (host, expected) in
            [("localhost", true), ("localhost:1", false), ("[::1]", true), ("[::1]:5000", false)]
        {
            assert_eq!(host_has_no_port(host), expected, "{host}");
        }
    }
}
