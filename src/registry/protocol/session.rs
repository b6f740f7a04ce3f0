//! One host: its queue, its pauses and its login.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio::sync::{MutexGuard, Semaphore};

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::address_scope::AddressScope;
use crate::core::docker::credentials::Credentials;
use crate::registry::protocol::backoff::{Backoff, RequestKind};
use crate::registry::protocol::challenge::{Challenge, choose};
use crate::registry::protocol::credentials::{CredentialFinder, FoundCredentials};
use crate::registry::protocol::endpoint::{RegistryEndpoint, host_of};
use crate::registry::protocol::error::{Failure, refusal};
use crate::registry::protocol::http::basic;
use crate::registry::protocol::query::{RegistryQuery, TokenScope};
use crate::registry::protocol::request::{HttpRequest, HttpResponse};
use crate::registry::protocol::settings::Limits;
use crate::registry::protocol::token::{self, TokenRequest, Tokens};
use crate::registry::protocol::transport::Transport;

/// Most requests in flight to one host, each on a separate connection: over HTTP/2 one bad answer
/// could break the others. 500 images take two round trips; nginx allows 512 connections.
const IN_FLIGHT_MAX: usize = 256;

/// Most of them on connections of the HTTP library. A connection in use needs 35 kB there, and 5 kB
/// more with TLS, so twice as many would be 4 MB more.
const LARGE_CONNECTIONS_MAX: usize = 128;

/// Most logins for one answer: the registry's, that of the host it redirects to, and one of the two
/// renewed.
const LOGINS_MAX: usize = 4;

/// The login sent with a request.
enum ShownLogin {
    Nothing,
    /// A login or a token from before.
    Kept(HeaderValue),
    /// A token that was fetched for this request.
    Fresh(HeaderValue),
}

impl ShownLogin {
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Kept(header) | Self::Fresh(header) => Some(header),
        }
    }
}

/// A host that wants a login.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoginRequest {
    challenge: Challenge,
    /// The host, as a URL without a path.
    named_by: Url,
    origin: String,
    /// The scope of the host.
    place: AddressScope,
}

/// The login for one host.
struct SessionLogin {
    wanted: Option<LoginRequest>,
    shown: ShownLogin,
}

/// The state of one host.
pub(in crate::registry) struct Session {
    pub endpoint: RegistryEndpoint,
    pub limits: Limits,
    transport: Arc<Transport>,
    credentials: Arc<CredentialFinder>,
    permits: Semaphore,
    /// The same for connections of the HTTP library.
    connections: Semaphore,
    opening: tokio::sync::Mutex<()>,
    opened: AtomicBool,
    /// The login that the registry itself wants.
    own: Mutex<Option<LoginRequest>>,
    /// The login that the host wants to which the registry redirects.
    elsewhere: Mutex<Option<LoginRequest>>,
    /// Why there was no login at the last search.
    no_login: Mutex<Option<String>>,
    /// The semaphore for a large body.
    large: Arc<Semaphore>,
    tokens: Tokens,
    backoff: Mutex<Backoff>,
    chance: RandomState,
}

impl Session {
    /// A host that was not asked yet.
    pub fn new(
        endpoint: RegistryEndpoint,
        transport: Arc<Transport>,
        credentials: Arc<CredentialFinder>,
        limits: &Limits,
    ) -> Self {
        Self {
            endpoint,
            limits: *limits,
            transport,
            credentials,
            permits: Semaphore::new(IN_FLIGHT_MAX),
            connections: Semaphore::new(LARGE_CONNECTIONS_MAX),
            opening: tokio::sync::Mutex::default(),
            opened: AtomicBool::new(false),
            own: Mutex::default(),
            elsewhere: Mutex::default(),
            no_login: Mutex::default(),
            large: Arc::new(Semaphore::new(1)),
            tokens: Tokens::default(),
            backoff: Mutex::new(Backoff::new(limits)),
            chance: RandomState::new(),
        }
    }

    /// Asks, and reads the answer. An answer that `read` refuses counts as a failure of the
    /// requested item. During a pause nothing is sent.
    pub async fn ask<T>(
        &self,
        ask: &RegistryQuery,
        read: impl FnOnce(HttpResponse) -> Result<T, Failure>,
    ) -> Result<T, LookupError> {
        // The semaphore is never closed; if that fails, only the limit is lost.
        let _permit = self.permits.acquire().await.ok();
        let first = self.first().await;
        let is_cheap =
            ask.kind == RequestKind::Head && self.transport.is_cheap(&self.endpoint.host);
        let _connection = if is_cheap { None } else { self.connections.acquire().await.ok() };
        if let Some(held) = self.backoff().holds(ask.kind, &ask.what, Instant::now()) {
            return Err(held);
        }
        let result = Box::pin(self.authorized(ask)).await.and_then(read);
        self.record(ask, result.as_ref().err());
        if first.is_some() {
            self.opened.store(true, Ordering::Release);
        }
        result.map_err(|failure| failure.error)
    }

    /// Sends a request of a copy, without pauses: a copy has its own limits for how often it tries.
    /// Every status is an answer.
    pub async fn transfer(&self, ask: &RegistryQuery) -> Result<HttpResponse, Failure> {
        Box::pin(self.authorized(ask)).await
    }

    /// Sends content to an address that this registry named.
    pub async fn send_to(
        &self,
        to: &Url,
        named_by: (&Url, AddressScope),
        scope: &TokenScope,
        mut request: HttpRequest,
        longest: Duration,
    ) -> Result<HttpResponse, Failure> {
        if self.is_own(to) {
            request.authorization =
                self.known_login(&self.own, scope).await?.shown.header().cloned();
        }
        let sending = self.transport.send_to(&self.endpoint, to, named_by, &request, longest);
        Box::pin(sending).await
    }

    /// The first request to a host goes alone. It finds out about TLS and logins for all others.
    async fn first(&self) -> Option<MutexGuard<'_, ()>> {
        if self.opened.load(Ordering::Acquire) {
            return None;
        }
        let guard = self.opening.lock().await;
        (!self.opened.load(Ordering::Acquire)).then_some(guard)
    }

    fn backoff(&self) -> std::sync::MutexGuard<'_, Backoff> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, ask: &RegistryQuery, failure: Option<&Failure>) {
        let now = Instant::now();
        match failure {
            None => self.backoff().succeeded(ask.kind, &ask.what),
            Some(failure) => {
                let chance = self.chance.hash_one((now, &ask.what));
                self.backoff().failed(ask.kind, &ask.what, failure, now, chance);
            }
        }
    }

    /// Asks with the known logins; a refused one is renewed once. A registry may redirect to
    /// another host, which then wants a login of its own.
    async fn authorized(&self, ask: &RegistryQuery) -> Result<HttpResponse, Failure> {
        let mut own = self.known_login(&self.own, &ask.scope).await?;
        let mut elsewhere = self.known_login(&self.elsewhere, &ask.scope).await?;
        for _ in 0..LOGINS_MAX {
            let answer = self.exchange(ask, &own, &elsewhere).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            let is_own = self.is_own(&answer.url);
            let (login, slot) = match is_own {
                true => (&mut own, &self.own),
                false => (&mut elsewhere, &self.elsewhere),
            };
            let wanted = self.wanted(ask, &answer)?;
            let is_new = login.wanted.as_ref() != Some(&wanted);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted.clone());
            if matches!(login.shown, ShownLogin::Fresh(_)) && !is_new {
                return Err(self.refused(ask, &wanted).await);
            }
            self.credentials.refused(&self.registry_of(&wanted));
            let refused = login.shown.header().filter(|_| !is_new || is_own);
            let renewed = self.login(&wanted, &ask.scope, refused).await?;
            if renewed.header().is_none() || renewed.header() == refused {
                return Err(self.refused(ask, &wanted).await);
            }
            *login = SessionLogin { wanted: Some(wanted), shown: renewed };
        }
        let host = &self.endpoint.host;
        let detail = format!("{host} asks for another login for {} each time", ask.what);
        Err(Failure::unauthorized(detail))
    }

    /// The login that the answer asks for.
    fn wanted(&self, ask: &RegistryQuery, answer: &HttpResponse) -> Result<LoginRequest, Failure> {
        let (url, place) = (answer.url.clone(), answer.place);
        let challenge = choose(&answer.headers).ok_or_else(|| {
            let host = self.name_of(&url);
            let detail = format!("{host} wants an unknown kind of login for {}", ask.what);
            Failure::unauthorized(detail)
        })?;
        let origin = url.origin().ascii_serialization();
        let named_by = Url::parse(&origin).unwrap_or(url);
        Ok(LoginRequest { challenge, named_by, origin, place })
    }

    /// The login for a host that is known to want one.
    async fn known_login(
        &self,
        slot: &Mutex<Option<LoginRequest>>,
        scope: &TokenScope,
    ) -> Result<SessionLogin, Failure> {
        let wanted = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shown = match &wanted {
            Some(wanted) => self.login(wanted, scope, None).await?,
            None => ShownLogin::Nothing,
        };
        Ok(SessionLogin { wanted, shown })
    }

    /// Whether the registry itself answered, and not a host it redirected to.
    fn is_own(&self, url: &Url) -> bool {
        let own = format!("{}://{}", url.scheme(), self.endpoint.host).parse::<Url>();
        own.is_ok_and(|own| own.origin() == url.origin())
    }

    /// The name of the host that answered, and the host that redirected to it.
    fn name_of(&self, url: &Url) -> String {
        let host = &self.endpoint.host;
        if self.is_own(url) {
            return host.clone();
        }
        format!("{} (redirect of {host})", host_of(url))
    }

    /// The registry whose login is used: the registry's login is never sent to another host.
    fn registry_of(&self, wanted: &LoginRequest) -> String {
        match self.is_own(&wanted.named_by) {
            true => self.endpoint.registry.clone(),
            false => host_of(&wanted.named_by),
        }
    }

    async fn exchange(
        &self,
        ask: &RegistryQuery,
        own: &SessionLogin,
        elsewhere: &SessionLogin,
    ) -> Result<HttpResponse, Failure> {
        let mut request = ask.request(own.shown.header().cloned());
        let origin = elsewhere.wanted.as_ref().map(|wanted| wanted.origin.clone());
        request.elsewhere = origin.zip(elsewhere.shown.header().cloned());
        request.large = Some(self.large.clone());
        self.transport.exchange(&self.endpoint, &ask.path, &request).await
    }

    /// The answer to a challenge, other than the `refused` one.
    async fn login(
        &self,
        wanted: &LoginRequest,
        scope: &TokenScope,
        refused: Option<&HeaderValue>,
    ) -> Result<ShownLogin, Failure> {
        let registry = self.registry_of(wanted);
        let (realm, service) = match &wanted.challenge {
            Challenge::Bearer { realm, service } => (realm, service.as_deref()),
            Challenge::Basic => {
                // An identity token is only valid for a token server.
                let login = self.find_login(&registry).await;
                let login = login.filter(|login| login.identity_token.is_none());
                let header = login.as_ref().map(basic).transpose()?;
                return Ok(header.map_or(ShownLogin::Nothing, ShownLogin::Kept));
            }
        };
        let slot = self.tokens.slot(&format!("{} {}", wanted.origin, scope.parts().join(" ")));
        let mut slot = slot.lock().await;
        let is_usable = |token: &&token::BearerToken| {
            token.is_good(Instant::now()) && Some(&token.header) != refused
        };
        if let Some(token) = slot.as_ref().filter(is_usable) {
            return Ok(ShownLogin::Kept(token.header.clone()));
        }
        let credentials = self.find_login(&registry).await;
        let named_by = (&wanted.named_by, wanted.place);
        let credentials = credentials.as_ref();
        let wanted = TokenRequest { realm, named_by, service, scope, credentials };
        let token = token::fetch(&self.transport, &self.endpoint, &wanted).await;
        let token = token.map_err(|failure| self.with_missing_login(failure))?;
        Ok(ShownLogin::Fresh(slot.insert(token).header.clone()))
    }

    /// The login for a registry. The reason for a missing one is kept, in case it is needed.
    async fn find_login(&self, registry: &str) -> Option<Credentials> {
        let FoundCredentials { login, error } = self.credentials.find(registry).await;
        *self.no_login.lock().unwrap_or_else(PoisonError::into_inner) = error;
        login
    }

    async fn refused(&self, ask: &RegistryQuery, wanted: &LoginRequest) -> Failure {
        let host = self.name_of(&wanted.named_by);
        let is_anonymous = self.find_login(&self.registry_of(wanted)).await.is_none();
        let mut failure = Failure::unauthorized(match is_anonymous {
            true => format!("{host} wants a login for {}, and there is none", ask.what),
            false => format!("{host} refuses the login for {}", ask.what),
        });
        failure.error.is_anonymous = is_anonymous;
        self.with_missing_login(failure)
    }

    /// A refusal, with the reason for the missing login.
    fn with_missing_login(&self, mut failure: Failure) -> Failure {
        let why = self.no_login.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Reason::RegistryUnauthorized, Some(why)) = (failure.error.reason, why.as_ref()) {
            failure.error.detail.push_str(&format!("; no login was sent: {why}"));
        }
        failure
    }

    /// A failure that pauses the `GET` for a tag, after a `HEAD` without a result.
    pub fn held_get(&self, ask: &RegistryQuery) -> Option<LookupError> {
        self.backoff().holds_image(RequestKind::Get, &ask.what, Instant::now())
    }

    /// Every status other than 200 is a failure.
    pub fn accept(
        &self,
        ask: &RegistryQuery,
        answer: HttpResponse,
    ) -> Result<HttpResponse, Failure> {
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        Err(self.refusal(&ask.what, answer))
    }

    /// The failure behind an answer.
    pub fn refusal(&self, what: &str, answer: HttpResponse) -> Failure {
        let HttpResponse { status, headers, body, url, .. } = answer;
        let host = self.name_of(&url);
        self.with_missing_login(refusal(status, &headers, &body, &host, what))
    }
}
