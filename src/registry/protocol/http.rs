//! One request and its answer, within their limits, counted.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::core::docker::address_scope::AddressScope;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::engine_registries::Proxies;
use crate::core::docker::manifest::ACCEPTED;
use crate::registry::RegistryObserver;
use crate::registry::protocol::error::{ExchangeError, Failure};
use crate::registry::protocol::plain_heads::PlainHeads;
use crate::registry::protocol::rate_limit::Quotas;
use crate::registry::protocol::request::{HttpRequest, HttpResponse};
use crate::registry::protocol::settings::{Limits, RegistrySettings};
use crate::registry::protocol::tls::{Clients, Way};

/// Largest manifest or index, in bytes: the limit of registries themselves (distribution
/// `maxManifestBodySize`).
pub(in crate::registry) const MANIFEST_MAX: usize = 4 * 1024 * 1024;

/// Largest configuration, in bytes: containerd's limit for content that it reads as a whole.
pub(in crate::registry) const CONFIGURATION_MAX: usize = 8 * 1024 * 1024;

/// How much of an error's body is read, in bytes. The error code is at the beginning.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// From this size in bytes on a body is large, and a host sends only one large body at a time:
/// manifests have some kilobytes, and 128 of four megabytes at once are more than a Pi Zero has.
const LARGE_BODY: usize = 64 * 1024;

/// Bytes by which the buffer of a large body grows.
const BODY_STEP: usize = 256 * 1024;

/// How many digests a document may contain: an index has 1,000 entries at most and a manifest 127
/// layers, each with a digest or two in its annotations. A document with more is not read to its
/// end, so that a registry cannot fill the memory with it.
const DIGESTS_MAX: usize = 4000;

/// The recipient of a request.
pub(in crate::registry) struct Recipient<'a> {
    /// The registry for which the request is counted.
    pub registry: &'a str,
    /// How the host is reached.
    pub way: &'a Way,
    pub url: &'a Url,
}

/// Sends requests.
pub(in crate::registry) struct Wire {
    clients: Arc<Clients>,
    observer: Arc<dyn RegistryObserver>,
    heads: PlainHeads,
    limits: Limits,
    /// What registries said of their quotas.
    pub quotas: Quotas,
}

impl Wire {
    /// No request was sent yet.
    pub fn new(
        settings: &RegistrySettings,
        limits: Limits,
        observer: Arc<dyn RegistryObserver>,
    ) -> Self {
        Self {
            clients: Arc::new(Clients::new(settings, &limits)),
            observer,
            heads: PlainHeads::new(limits.connect_timeout),
            limits,
            quotas: Quotas::default(),
        }
    }

    /// The Engine's proxies are used if the environment names none.
    pub fn follow_proxies(&self, proxies: &Proxies) {
        self.clients.follow_proxies(proxies);
    }

    /// Whether requests for a URL go through a proxy.
    pub fn uses_proxy(&self, url: &Url) -> bool {
        self.clients.uses_proxy(url)
    }

    /// The deadline of an exchange that starts now.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limits.request_timeout
    }

    /// Sends one request. `authorization` may be less than the request has.
    pub async fn send(
        &self,
        to: &Recipient<'_>,
        request: &HttpRequest,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<HttpResponse, ExchangeError> {
        let sending = Box::pin(self.converse(to, request, authorization));
        let mut result = timeout_at(deadline, sending).await.unwrap_or_else(|_| {
            let after = self.limits.request_timeout;
            Err(ExchangeError::Timeout { host: to.way.host.clone(), after })
        });
        self.observe(to.registry, &result);
        if result.as_ref().is_err_and(ExchangeError::concerns_trust) {
            self.clients.forget(&to.way.host);
        }
        if let Err(ExchangeError::Certificate { problem, .. }) = &mut result {
            problem.extend(self.clients.flaw(&to.way.host).map(|flaw| format!("; {flaw}")));
        }
        result
    }

    async fn converse(
        &self,
        to: &Recipient<'_>,
        request: &HttpRequest,
        authorization: Option<&HeaderValue>,
    ) -> Result<HttpResponse, ExchangeError> {
        if request.method == Method::HEAD && self.is_plain(to) {
            return self.plain_head(to, request, authorization).await;
        }
        let error = |error: reqwest::Error| {
            ExchangeError::of(&error, &to.way.host, self.limits.connect_timeout)
        };
        let mut builder =
            self.client(to.way).await?.request(request.method.clone(), to.url.clone());
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
        if let Some(range) = &request.range {
            builder = builder.header(RANGE, range);
        }
        if let Some(content) = &request.content {
            builder = content.put_into(builder);
        }
        let mut response = builder.send().await.map_err(error)?;
        let place = self.place(&response, to.url);
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let is_stream = request.is_stream && status.is_success();
        let body = if request.method == Method::HEAD || is_stream {
            Vec::new()
        } else if status.is_success() {
            let large = request.large.as_deref();
            let body = read(&mut response, request.limit, large).await.map_err(error)?;
            let host = to.way.host.clone();
            body.map_err(|limit| ExchangeError::TooLarge { host, limit })?
        } else {
            // An error is known by its status. An unreadable body is left out.
            let body = read(&mut response, ERROR_BODY_MAX, None).await;
            body.ok().and_then(Result::ok).unwrap_or_default()
        };
        let stream = is_stream.then_some(response);
        Ok(HttpResponse { status, headers, body, stream, url: to.url.clone(), place })
    }

    /// Whether the request goes without TLS and without a proxy to a host that the operator named.
    fn is_plain(&self, to: &Recipient<'_>) -> bool {
        to.url.scheme() == "http" && to.way.sent_from.is_none() && !self.clients.uses_proxy(to.url)
    }

    async fn plain_head(
        &self,
        to: &Recipient<'_>,
        request: &HttpRequest,
        authorization: Option<&HeaderValue>,
    ) -> Result<HttpResponse, ExchangeError> {
        let mut headers = Vec::new();
        let accept = if request.wants_manifest { ACCEPTED.join(", ") } else { "*/*".to_owned() };
        headers.extend(HeaderValue::try_from(accept).map(|accept| (ACCEPT, accept)));
        headers.extend(authorization.map(|it| (AUTHORIZATION, it.clone())));
        let answer = self.heads.ask(&to.way.host, to.url, &headers).await?;
        let (status, headers, body) = (answer.status, answer.headers, Vec::new());
        let place = AddressScope::of(answer.peer.ip());
        let url = to.url.clone();
        Ok(HttpResponse { status, headers, body, stream: None, url, place })
    }

    /// The scope of the host that answered. Behind a proxy only its name is known, so it counts as
    /// outside and may not redirect further inside.
    fn place(&self, response: &Response, url: &Url) -> AddressScope {
        let connected = response.remote_addr().map(|address| address.ip());
        match self.clients.uses_proxy(url) {
            true => literal(url).map_or(AddressScope::Internet, AddressScope::of),
            false => connected.map_or(AddressScope::Internet, AddressScope::of),
        }
    }

    async fn client(&self, way: &Way) -> Result<Client, ExchangeError> {
        if let Some(client) = self.clients.remembered(way) {
            return Ok(client);
        }
        let (clients, wanted, host) = (self.clients.clone(), way.clone(), &way.host);
        match spawn_blocking(move || clients.build(&wanted)).await {
            Ok(client) => client,
            Err(_) => {
                Err(ExchangeError::Setup(format!("certificates for {host} could not be read")))
            }
        }
    }

    fn observe(&self, registry: &str, result: &Result<HttpResponse, ExchangeError>) {
        match result {
            Ok(answer) => {
                self.observer.request(registry, code_of(&answer.status));
                let quota =
                    self.quotas.record(registry, &answer.headers, Instant::now().into_std());
                if let Some(quota) = quota {
                    self.observer.rate_limit_remaining(registry, quota.remaining);
                }
            }
            // No request was sent yet: this host probably speaks plain HTTP, and may.
            Err(ExchangeError::NotTls { .. }) => {}
            Err(ExchangeError::Timeout { .. }) => self.observer.request(registry, "timeout"),
            Err(_) => self.observer.request(registry, "error"),
        }
    }
}

/// A status for the metrics. Unknown codes are counted together, because a registry could answer
/// with hundreds of them.
fn code_of(status: &StatusCode) -> &str {
    status.canonical_reason().map_or("other", |_| status.as_str())
}

/// `Authorization` for a user name and a password.
pub(in crate::registry) fn basic(login: &Credentials) -> Result<HeaderValue, Failure> {
    let text = format!("{}:{}", login.username, login.password.expose_secret());
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text)));
    let mut value =
        value.map_err(|_| Failure::unauthorized("the login cannot be put into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The address in a URL whose host is written as an address, in any form.
pub(in crate::registry) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The body, or the limit that it exceeds. A large body waits for its turn.
async fn read(
    response: &mut Response,
    limit: usize,
    large: Option<&Semaphore>,
) -> Result<Result<Vec<u8>, String>, reqwest::Error> {
    let too_large = || Ok(Err(format!("{limit} bytes")));
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return too_large();
    }
    let mut place = None;
    let mut body = Vec::new();
    let mut digests = Digests::default();
    while let Some(chunk) = response.chunk().await? {
        let length = body.len() + chunk.len();
        if length > limit {
            return too_large();
        }
        if large.is_some() && digests.count(&chunk) > DIGESTS_MAX {
            return Ok(Err(format!("{DIGESTS_MAX} digests")));
        }
        if length > LARGE_BODY
            && let (Some(large), None) = (large, &place)
        {
            // The semaphore is never closed; if that fails, only the limit is lost.
            place = large.acquire().await.ok();
        }
        if place.is_some() && length > body.capacity() {
            body.reserve_exact(reserve(response, length).saturating_sub(body.len()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Ok(body))
}

/// Counts the digests in a document that arrives in pieces.
#[derive(Default)]
struct Digests {
    count: usize,
    /// How much of [`Self::BEGIN`] the last piece ended with.
    matched: usize,
}

impl Digests {
    /// The beginning of every digest in JSON: `"sha256:…"`, `"sha512:…"`.
    const BEGIN: &[u8] = b"\"sha";

    fn count(&mut self, piece: &[u8]) -> usize {
        for byte in piece {
            self.matched = match Self::BEGIN.get(self.matched) {
                Some(next) if next == byte => self.matched + 1,
                _ => usize::from(Self::BEGIN.first() == Some(byte)),
            };
            if self.matched == Self::BEGIN.len() {
                (self.count, self.matched) = (self.count + 1, 0);
            }
        }
        self.count
    }
}

/// The next buffer size for a large body, so that it does not grow by doubling: the announced
/// length, one step at a time, because a large announcement may be false.
fn reserve(response: &Response, length: usize) -> usize {
    let said = response.content_length().and_then(|said| usize::try_from(said).ok());
    said.unwrap_or(0).min(length.saturating_add(BODY_STEP)).max(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_counted_across_pieces() {
        let text = br#"{"digest":"sha256:a","other":"sha512:b","""sha"#;
        for size in 1..=text.len() {
            let mut digests = Digests::default();
            let count = text.chunks(size).map(|piece| digests.count(piece)).last();
            assert_eq!(count, Some(3), "{size}");
        }
    }

    #[test]
    fn a_login_in_a_header_is_not_shown() {
        let login = Credentials::with_password("user", "p?>~ä");
        let value = basic(&login).expect("a header");
        assert_eq!(value.as_bytes(), b"Basic dXNlcjpwPz5+w6Q=");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
