//! One exchange with a host: with or without TLS, and with redirects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;

use crate::core::decide::quota::Quota;
use crate::core::docker::address_scope::{AddressRefusal, AddressScope};
use crate::core::docker::engine_registries::EngineRegistries;
use crate::registry::RegistryObserver;
use crate::registry::protocol::endpoint::{RegistryEndpoint, host_of, is_loopback};
use crate::registry::protocol::error::{ExchangeError, Failure};
use crate::registry::protocol::hosts::{HostTable, Scheme};
use crate::registry::protocol::http::{Recipient, Wire};
use crate::registry::protocol::request::{HttpRequest, HttpResponse};
use crate::registry::protocol::settings::{Limits, RegistrySettings};
use crate::registry::protocol::tls::Way;

/// Most redirects of one exchange: registries need one, to the location of their blobs.
const REDIRECTS_MAX: usize = 5;

/// Sends requests, and knows the scheme of each host.
pub(in crate::registry) struct Transport {
    wire: Wire,
    pub hosts: HostTable,
}

impl Transport {
    /// `plain_hosts`: every host that the settings allow without TLS.
    pub fn new(
        settings: &RegistrySettings,
        plain_hosts: BTreeSet<String>,
        limits: Limits,
        observer: Arc<dyn RegistryObserver>,
    ) -> Self {
        let hosts = HostTable::new(settings, plain_hosts);
        Self { wire: Wire::new(settings, limits, observer), hosts }
    }

    /// What each registry last said of its quota.
    pub fn quotas(&self) -> BTreeMap<String, Quota> {
        self.wire.quotas.known(Instant::now().into_std())
    }

    /// Whether `HEAD` requests to a host go on connections that need little memory.
    pub fn is_cheap(&self, host: &str) -> bool {
        let url: Option<Url> = format!("http://{host}/").parse().ok();
        self.hosts.scheme(host) == Some(Scheme::Plain)
            && url.is_some_and(|url| !self.wire.uses_proxy(&url))
    }

    /// Sets the Engine's settings. Returns whether anything changed.
    pub fn follow_engine(&self, engine: &EngineRegistries) -> bool {
        let Some(proxies) = self.hosts.follow_engine(engine) else { return false };
        if proxies != engine.proxies {
            self.wire.follow_proxies(&engine.proxies);
        }
        true
    }

    /// Sends a request to a registry's host, with TLS if the host speaks it.
    pub async fn exchange(
        &self,
        endpoint: &RegistryEndpoint,
        path: &str,
        request: &HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        let deadline = self.wire.deadline();
        let answer = self.first(endpoint, path, request, deadline).await?;
        Ok(self.follow(endpoint, answer, request, deadline).await?)
    }

    /// Sends a request to the token server that a registry named, if the registry may name it.
    pub async fn exchange_realm(
        &self,
        endpoint: &RegistryEndpoint,
        realm: Url,
        named_by: (&Url, AddressScope),
        request: &HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        let deadline = self.wire.deadline();
        let sent_from = self.judge_named(endpoint, &realm, named_by, "the token server")?;
        let authorization = request.authorization.as_ref();
        let sent = Sent { url: &realm, sent_from, authorization };
        let answer = self.send(endpoint, sent, request, deadline).await?;
        Ok(self.follow(endpoint, answer, request, deadline).await?)
    }

    /// Sends content to the address that a registry named for it. The login goes only to the
    /// registry itself, and no redirect is followed. `longest` is the time for all of it.
    pub async fn send_to(
        &self,
        endpoint: &RegistryEndpoint,
        to: &Url,
        named_by: (&Url, AddressScope),
        request: &HttpRequest,
        longest: Duration,
    ) -> Result<HttpResponse, Failure> {
        let sent_from = self.judge_named(endpoint, to, named_by, "the address for an upload")?;
        let is_same = to.origin() == named_by.0.origin();
        let authorization = request.authorization.as_ref().filter(|_| is_same);
        let deadline = Instant::now() + longest;
        let sent = Sent { url: to, sent_from, authorization };
        let answer = self.send(endpoint, sent, request, deadline).await?;
        Ok(self.follow(endpoint, answer, request, deadline).await?)
    }

    /// Whether a registry may name an address, and how far inside its name may lead.
    fn judge_named(
        &self,
        endpoint: &RegistryEndpoint,
        to: &Url,
        named_by: (&Url, AddressScope),
        what: &str,
    ) -> Result<Option<AddressScope>, Failure> {
        let (from, host) = (&endpoint.host, host_of(to));
        self.hosts.judge(to, named_by).map_err(|refusal| match refusal {
            AddressRefusal::Plain => {
                Failure::nonsense(format!("{from} names {what} {host} without TLS"))
            }
            AddressRefusal::Inside(there) => ExchangeError::Inside { host, there }.into(),
        })
    }

    /// The first request, which finds out whether the host speaks TLS. Like in the Engine, TLS is
    /// tried first even if plain HTTP is allowed; a host that once spoke TLS, even with a bad
    /// certificate, is never used without it.
    async fn first(
        &self,
        endpoint: &RegistryEndpoint,
        path: &str,
        request: &HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let known = self.hosts.scheme(&endpoint.host);
        if known == Some(Scheme::Plain) {
            return self.first_plain(endpoint, path, request, deadline).await;
        }
        let mut answer = self.first_tls(endpoint, path, request, deadline).await;
        let mut may_speak_plain = self.hosts.may_speak_plain(&endpoint.host) || endpoint.plain_http;
        if let Err(error) = &answer
            && !self.hosts.is_insecure(&endpoint.host)
            && (error.concerns_trust() || is_no_tls(error, endpoint))
            && self.hosts.resolves_to_insecure_network(&endpoint.host).await
        {
            may_speak_plain = true;
            answer = self.first_tls(endpoint, path, request, deadline).await;
        }
        match &answer {
            Err(error) if known.is_none() && may_speak_plain && is_no_tls(error, endpoint) => {
                return self.first_plain(endpoint, path, request, deadline).await;
            }
            Err(error) if !error.concerns_trust() => {}
            Ok(_) | Err(_) => self.hosts.note(&endpoint.host, Some(Scheme::Tls)),
        }
        answer
    }

    async fn first_tls(
        &self,
        endpoint: &RegistryEndpoint,
        path: &str,
        request: &HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let url = url_of("https", endpoint, path)?;
        self.send(endpoint, Sent::first(&url, request), request, deadline).await
    }

    async fn first_plain(
        &self,
        endpoint: &RegistryEndpoint,
        path: &str,
        request: &HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let url = url_of("http", endpoint, path)?;
        let answer = self.send(endpoint, Sent::first(&url, request), request, deadline).await;
        // A server that has switched to TLS answers 400 to plain HTTP, or nothing at all.
        let spoke = match &answer {
            Ok(answer) => answer.status != StatusCode::BAD_REQUEST,
            Err(error) => matches!(error, ExchangeError::InClear { .. }),
        };
        self.hosts.note(&endpoint.host, spoke.then_some(Scheme::Plain));
        answer
    }

    /// Follows redirects. The login is only sent to its own origin, and not again after a redirect
    /// away from it.
    async fn follow(
        &self,
        endpoint: &RegistryEndpoint,
        mut answer: HttpResponse,
        request: &HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let mut authorization = request.authorization.as_ref();
        for _ in 0..REDIRECTS_MAX {
            if !is_redirect(answer.status) {
                return Ok(answer);
            }
            let (next, sent_from) = self.redirect_target(&answer, request)?;
            if next.origin() != answer.url.origin() {
                authorization = None;
            }
            let origin = next.origin().ascii_serialization();
            let elsewhere = request.elsewhere.as_ref().filter(|(known, _)| *known == origin);
            let authorization = authorization.or(elsewhere.map(|(_, token)| token));
            let sent = Sent { url: &next, sent_from, authorization };
            answer = self.send(endpoint, sent, request, deadline).await?;
        }
        if is_redirect(answer.status) {
            let problem = "there are too many".to_owned();
            return Err(ExchangeError::Redirect { host: host_of(&answer.url), problem });
        }
        Ok(answer)
    }

    /// The target of a redirect, if it is allowed, and how far inside its name may lead.
    fn redirect_target(
        &self,
        answer: &HttpResponse,
        request: &HttpRequest,
    ) -> Result<(Url, Option<AddressScope>), ExchangeError> {
        let from = &answer.url;
        let refuse = |problem: &str| ExchangeError::Redirect {
            host: host_of(from),
            problem: problem.to_owned(),
        };
        if request.form.is_some() {
            return Err(refuse("the request held a login"));
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(refuse("the request would change another registry"));
        }
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| refuse("it leads nowhere"))?;
        let mut next = from.join(location).map_err(|_| refuse("it leads nowhere"))?;
        let is_web = matches!(next.scheme(), "http" | "https");
        // A login in a URL would be sent along, and it is not the agent's own.
        if is_web && (next.set_username("").is_err() || next.set_password(None).is_err()) {
            return Err(refuse("it leads nowhere"));
        }
        // On this machine no other machine can listen on the way.
        let stays_here = answer.place == AddressScope::ThisMachine && is_loopback(&host_of(&next));
        let sent_from = match self.hosts.judge(&next, (from, answer.place)) {
            Ok(sent_from) if is_web => sent_from,
            Err(AddressRefusal::Plain) if from.scheme() == "http" && is_web && stays_here => None,
            Err(AddressRefusal::Inside(there)) => {
                return Err(refuse(&format!("it leads to {}", there.in_words())));
            }
            Ok(_) | Err(AddressRefusal::Plain) => return Err(refuse("it leaves TLS")),
        };
        Ok((next, sent_from))
    }

    /// One request of an exchange.
    async fn send(
        &self,
        endpoint: &RegistryEndpoint,
        sent: Sent<'_>,
        request: &HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let Sent { url, sent_from, authorization } = sent;
        let host = known_host(endpoint, url);
        let holds_a_login = authorization.is_some() || request.form.is_some();
        if holds_a_login && url.scheme() == "http" && self.hosts.ever_spoke_tls(&host) {
            return Err(ExchangeError::InClear { host });
        }
        let way = Way { is_insecure: self.hosts.is_insecure(&host), host, sent_from };
        let to = Recipient { registry: &endpoint.registry, way: &way, url };
        self.wire.send(&to, request, authorization, deadline).await
    }
}

/// One request, ready to send.
struct Sent<'a> {
    url: &'a Url,
    /// The scope of the registry that redirects there; `None` if the operator named the host.
    sent_from: Option<AddressScope>,
    authorization: Option<&'a HeaderValue>,
}

impl<'a> Sent<'a> {
    fn first(url: &'a Url, request: &'a HttpRequest) -> Self {
        Self { url, sent_from: None, authorization: request.authorization.as_ref() }
    }
}

fn url_of(scheme: &str, endpoint: &RegistryEndpoint, path: &str) -> Result<Url, ExchangeError> {
    let host = &endpoint.host;
    format!("{scheme}://{host}{path}").parse().map_err(|_| ExchangeError::Connect {
        host: host.clone(),
        problem: "it is not the name of a host".to_owned(),
    })
}

/// The name under which the certificates of a URL's host are kept: a registry written as
/// `registry:443` keeps that name, although a URL drops the default port of `https`.
fn known_host(endpoint: &RegistryEndpoint, url: &Url) -> String {
    let own: Option<Url> = format!("{}://{}", url.scheme(), endpoint.host).parse().ok();
    match own {
        Some(own) if own.origin() == url.origin() => endpoint.host.clone(),
        _ => host_of(url),
    }
}

/// Whether a failed first request shows that the host does not speak TLS at all.
fn is_no_tls(error: &ExchangeError, endpoint: &RegistryEndpoint) -> bool {
    match error {
        ExchangeError::NotTls { .. } | ExchangeError::HandshakeCut { .. } => true,
        // If the host is written without a port, it may speak plain HTTP on another port.
        ExchangeError::Connect { .. } => host_has_no_port(&endpoint.host),
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
#[path = "transport_tests.rs"]
mod tests;
