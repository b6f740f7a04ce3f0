//! One request and its answer, within their limits, counted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::ExposeSecret as _;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::core::docker::credentials::Credentials;
use crate::core::docker::manifest::ACCEPTED;
use crate::registry::RegistryObserver;
use crate::registry::failure::{Failure, Trouble};
use crate::registry::quotas::Quotas;
use crate::registry::settings::{Limits, RegistrySettings};
use crate::registry::trust::Clients;

/// How much of an error's body is read, in bytes. Its code stands at the beginning.
const ERROR_BODY_MAX: usize = 64 * 1024;

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

/// To whom a request goes.
pub(super) struct Recipient<'a> {
    /// The registry it is counted for.
    pub registry: &'a str,
    /// The host, under the name that its certificates are kept under.
    pub host: &'a str,
    pub url: &'a Url,
}

/// Puts requests on the wire.
pub(super) struct Wire {
    clients: Arc<Clients>,
    observer: Arc<dyn RegistryObserver>,
    limits: Limits,
    /// What registries said of their quotas.
    pub quotas: Quotas,
}

impl Wire {
    pub fn new(
        settings: &RegistrySettings,
        limits: Limits,
        observer: Arc<dyn RegistryObserver>,
    ) -> Self {
        Self {
            clients: Arc::new(Clients::new(settings, &limits)),
            observer,
            limits,
            quotas: Quotas::default(),
        }
    }

    /// When an exchange that begins now has to be over.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limits.request_timeout
    }

    /// Sends one request. `authorization` may be less than what the request brings.
    pub async fn send(
        &self,
        to: &Recipient<'_>,
        request: &Request,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let sending = Box::pin(self.converse(to, request, authorization));
        let result = timeout_at(deadline, sending).await.unwrap_or_else(|_| {
            let after = self.limits.request_timeout;
            Err(Trouble::Timeout { host: to.host.to_owned(), after })
        });
        self.observe(to.registry, &result);
        if result.as_ref().is_err_and(Trouble::concerns_trust) {
            self.clients.forget(to.host);
        }
        result
    }

    async fn converse(
        &self,
        to: &Recipient<'_>,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Trouble> {
        let trouble =
            |error: reqwest::Error| Trouble::of(&error, to.host, self.limits.connect_timeout);
        let mut builder =
            self.client(to.host).await?.request(request.method.clone(), to.url.clone());
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
            let host = to.host.to_owned();
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
                let quota = self.quotas.hear(registry, &answer.headers, Instant::now().into_std());
                if let Some(quota) = quota {
                    self.observer.rate_limit_remaining(registry, quota.remaining);
                }
            }
            // No request was made yet: most likely this host speaks plain http, and may.
            Err(Trouble::NotTls { .. }) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_a_header_is_not_shown() {
        let login = Credentials::with_password("user", "p?>~ä");
        let value = basic(&login).expect("a header");
        assert_eq!(value.as_bytes(), b"Basic dXNlcjpwPz5+w6Q=");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
