//! One exchange with a host: with or without TLS, over redirects, within its limits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::ExposeSecret as _;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::core::credentials::Credentials;
use crate::core::manifest::ACCEPTED;
use crate::registry::RegistryObserver;
use crate::registry::endpoint::{Endpoint, host_of, is_loopback};
use crate::registry::failure::{Failure, Trouble};
use crate::registry::settings::{Limits, RegistrySettings};
use crate::registry::trust::Clients;

/// Most redirects of one exchange: registries need one, to where their blobs are.
const REDIRECTS_MAX: usize = 5;

/// How much of an error's body is read, in bytes. Its code stands at the beginning.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// What is left of Docker Hub's quota: `100;w=21600`, requests and seconds of the window.
const RATE_LIMIT_REMAINING: &str = "ratelimit-remaining";

/// What is sent. It has no `Debug`: the form may hold an identity token.
pub(super) struct Request {
    pub method: Method,
    /// Whether a manifest is wanted, of any of the four types.
    pub wants_manifest: bool,
    pub authorization: Option<HeaderValue>,
    pub form: Option<String>,
    /// Largest body of a good answer, in bytes.
    pub limit: usize,
}

impl Request {
    pub fn new(method: Method, limit: usize) -> Self {
        Self { method, wants_manifest: false, authorization: None, form: None, limit }
    }
}

/// What came back. It has no `Debug`: the body may be a token.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// How a host was found to speak.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Tls,
    Plain,
}

/// Sends requests and knows how each host wants to be spoken to.
pub(super) struct Transport {
    clients: Arc<Clients>,
    observer: Arc<dyn RegistryObserver>,
    limits: Limits,
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
        let clients = Arc::new(Clients::new(settings, &limits));
        Self { clients, observer, limits, plain_hosts, schemes: Mutex::default() }
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
        let deadline = Instant::now() + self.limits.request_timeout;
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
        let deadline = Instant::now() + self.limits.request_timeout;
        let authorization = request.authorization.as_ref();
        let answer = self.wire(endpoint, &url, request, authorization, deadline).await?;
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
        match self.wire(endpoint, &url, request, authorization, deadline).await {
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
        let answer = self.wire(endpoint, &url, request, authorization, deadline).await;
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
            answer = self.wire(endpoint, &next, request, authorization, deadline).await?;
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

    /// One request and its answer on the wire, counted.
    async fn wire(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        request: &Request,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let host = known_host(endpoint, url);
        let sending = Box::pin(self.send(&host, url, request, authorization));
        let result = match timeout_at(deadline, sending).await {
            Ok(result) => result,
            Err(_) => {
                Err(Trouble::Timeout { host: host.clone(), after: self.limits.request_timeout })
            }
        };
        self.observe(&endpoint.registry, &result);
        if result.as_ref().is_err_and(Trouble::concerns_trust) {
            self.clients.forget(&host);
        }
        result
    }

    async fn send(
        &self,
        host: &str,
        url: &Url,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Trouble> {
        let trouble =
            |error: reqwest::Error| Trouble::of(&error, host, self.limits.connect_timeout);
        let mut builder = self.client(host).await?.request(request.method.clone(), url.clone());
        if request.wants_manifest {
            builder = builder.header(ACCEPT, ACCEPTED.join(", "));
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(form) = &request.form {
            builder = builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            builder = builder.body(form.clone());
        }
        let mut response = builder.send().await.map_err(trouble)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = if request.method == Method::HEAD {
            Vec::new()
        } else if status.is_success() {
            let body = read(&mut response, request.limit).await.map_err(trouble)?;
            let host = host.to_owned();
            body.ok_or(Trouble::TooLarge { host, limit: request.limit })?
        } else {
            // An error is known by its status. What cannot be read of its body is left out.
            read(&mut response, ERROR_BODY_MAX).await.ok().flatten().unwrap_or_default()
        };
        Ok(Answer { status, headers, body })
    }

    async fn client(&self, host: &str) -> Result<Client, Trouble> {
        if let Some(client) = self.clients.remembered(host) {
            return Ok(client);
        }
        let (clients, name) = (self.clients.clone(), host.to_owned());
        match spawn_blocking(move || clients.build(&name)).await {
            Ok(client) => client,
            Err(_) => Err(Trouble::Setup(format!("certificates for {host} could not be read"))),
        }
    }

    fn observe(&self, registry: &str, result: &Result<Answer, Trouble>) {
        match result {
            Ok(answer) => {
                self.observer.request(registry, answer.status.as_str());
                if let Some(remaining) = rate_limit_remaining(&answer.headers) {
                    self.observer.rate_limit_remaining(registry, remaining);
                }
            }
            Err(Trouble::Timeout { .. }) => self.observer.request(registry, "timeout"),
            Err(_) => self.observer.request(registry, "error"),
        }
    }
}

/// `Authorization` for a user name and a password.
pub(super) fn basic(login: &Credentials) -> Result<HeaderValue, Failure> {
    let text = format!("{}:{}", login.username, login.password.expose_secret());
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text)));
    let mut value =
        value.map_err(|_| Failure::unauthorized("the login cannot be put into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The body, or nothing if it is larger than the limit.
async fn read(response: &mut Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
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

fn rate_limit_remaining(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RATE_LIMIT_REMAINING)?.to_str().ok()?;
    text.split(';').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_quota_stands_before_its_window() {
        let remaining = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RATE_LIMIT_REMAINING, text.parse().expect("a value"));
            rate_limit_remaining(&headers)
        };
        assert_eq!(remaining("100;w=21600"), Some(100));
        assert_eq!(remaining("0"), Some(0));
        assert_eq!(remaining("many"), None);
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
    fn a_login_in_a_header_is_not_shown() {
        let login = Credentials::with_password("user", "p?>~ä");
        let value = basic(&login).expect("a header");
        assert_eq!(value.as_bytes(), b"Basic dXNlcjpwPz5+w6Q=");
        assert_eq!(format!("{value:?}"), "Sensitive");
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
