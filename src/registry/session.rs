//! One host: its queue, its pauses and its login.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use tokio::sync::{MutexGuard, Semaphore};

use crate::core::decide::offer::LookupError;
use crate::core::docker::reference::{Digest, Reference};
use crate::registry::backoff::{Backoff, Kind};
use crate::registry::challenge::{Challenge, choose};
use crate::registry::credentials::CredentialFinder;
use crate::registry::endpoint::Endpoint;
use crate::registry::failure::{Failure, refusal};
use crate::registry::settings::Limits;
use crate::registry::token::{self, TokenRequest, Tokens};
use crate::registry::transport::Transport;
use crate::registry::wire::{Answer, Request, basic};

/// Most requests in flight to one host, each on a connection of its own: HTTP/2 would carry all
/// of them on one, and with it one bad answer could spoil every other. 500 images take four round
/// trips this way. A connection in use needs 35 kB here, and 5 kB more with TLS, so twice as many
/// would be 4 MB more; and nginx before a small registry takes 512 unless told otherwise.
const IN_FLIGHT_MAX: usize = 128;

/// Largest manifest or index, in bytes: what registries themselves take (distribution
/// `maxManifestBodySize`).
const MANIFEST_MAX: usize = 4 * 1024 * 1024;

/// Largest configuration, in bytes: containerd's limit for what it reads as a whole.
const CONFIGURATION_MAX: usize = 8 * 1024 * 1024;

/// One thing that is asked of a registry.
pub(super) struct Ask {
    kind: Kind,
    repository: String,
    path: String,
    /// What it is, for people: `shop/till:v1`.
    pub what: String,
    wants_manifest: bool,
}

impl Ask {
    /// The headers of what a reference's tag points at.
    pub fn head(reference: &Reference) -> Self {
        Self { kind: Kind::Head, ..Self::tagged(reference) }
    }

    /// What a reference's tag points at.
    pub fn tagged(reference: &Reference) -> Self {
        let target = reference.tag_or_digest();
        let colon = if reference.tag.is_some() { ':' } else { '@' };
        Self {
            kind: Kind::Get,
            repository: reference.repository.clone(),
            path: format!("/v2/{}/manifests/{target}", reference.repository),
            what: format!("{}{colon}{target}", reference.repository),
            wants_manifest: true,
        }
    }

    /// A manifest or an index by its digest.
    pub fn manifest(reference: &Reference, digest: &Digest) -> Self {
        Self { wants_manifest: true, ..Self::content(reference, digest, "manifests") }
    }

    /// A configuration by its digest.
    pub fn blob(reference: &Reference, digest: &Digest) -> Self {
        Self::content(reference, digest, "blobs")
    }

    fn content(reference: &Reference, digest: &Digest, place: &str) -> Self {
        Self {
            kind: Kind::Get,
            repository: reference.repository.clone(),
            path: format!("/v2/{}/{place}/{digest}", reference.repository),
            what: format!("{}@{digest}", reference.repository),
            wants_manifest: false,
        }
    }

    fn request(&self, authorization: Option<HeaderValue>) -> Request {
        let method = if self.kind == Kind::Head { Method::HEAD } else { Method::GET };
        let limit = if self.wants_manifest { MANIFEST_MAX } else { CONFIGURATION_MAX };
        let wants_manifest = self.wants_manifest;
        Request { wants_manifest, authorization, ..Request::new(method, limit) }
    }
}

/// What was shown with a request.
enum Shown {
    Nothing,
    /// A login or a token from before.
    Kept(HeaderValue),
    /// A token that was fetched for this very request.
    Fresh(HeaderValue),
}

impl Shown {
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Kept(header) | Self::Fresh(header) => Some(header),
        }
    }
}

/// Everything remembered about one host.
pub(super) struct Session {
    pub endpoint: Endpoint,
    transport: Arc<Transport>,
    credentials: Arc<CredentialFinder>,
    permits: Semaphore,
    opening: tokio::sync::Mutex<()>,
    opened: AtomicBool,
    challenge: Mutex<Option<Challenge>>,
    tokens: Tokens,
    backoff: Mutex<Backoff>,
    chance: RandomState,
}

impl Session {
    pub fn new(
        endpoint: Endpoint,
        transport: Arc<Transport>,
        credentials: Arc<CredentialFinder>,
        limits: &Limits,
    ) -> Self {
        Self {
            endpoint,
            transport,
            credentials,
            permits: Semaphore::new(IN_FLIGHT_MAX),
            opening: tokio::sync::Mutex::default(),
            opened: AtomicBool::new(false),
            challenge: Mutex::default(),
            tokens: Tokens::default(),
            backoff: Mutex::new(Backoff::new(limits)),
            chance: RandomState::new(),
        }
    }

    /// Asks, and reads the answer. What `read` refuses counts as a failure of what was asked
    /// for; within a pause nothing is sent.
    pub async fn ask<T>(
        &self,
        ask: &Ask,
        read: impl FnOnce(Answer) -> Result<T, Failure>,
    ) -> Result<T, LookupError> {
        // Nobody closes the semaphore; if that ever fails, the limit is all that is lost.
        let _permit = self.permits.acquire().await.ok();
        let first = self.first().await;
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

    /// The first request to a host goes alone. It finds out about TLS and logins, and the other
    /// five hundred then need not.
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

    fn record(&self, ask: &Ask, failure: Option<&Failure>) {
        let now = Instant::now();
        match failure {
            None => self.backoff().succeeded(ask.kind, &ask.what),
            Some(failure) => {
                let chance = self.chance.hash_one((now, &ask.what));
                self.backoff().failed(ask.kind, &ask.what, failure, now, chance);
            }
        }
    }

    /// Asks with the login that the host is known to want; a refused one is renewed once.
    async fn authorized(&self, ask: &Ask) -> Result<Answer, Failure> {
        let known = self.known_challenge();
        let shown = match &known {
            Some(challenge) => self.login(challenge, &ask.repository, None).await?,
            None => Shown::Nothing,
        };
        let answer = self.exchange(ask, &shown).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = choose(&answer.headers) else {
            let host = &self.endpoint.host;
            let detail = format!("{host} wants a login for {} of a kind we do not know", ask.what);
            return Err(Failure::unauthorized(detail));
        };
        let is_new = known.as_ref() != Some(&challenge);
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(challenge.clone());
        if matches!(shown, Shown::Fresh(_)) && !is_new {
            return Err(self.refused(ask).await);
        }
        self.credentials.refused(&self.endpoint.registry);
        let renewed = self.login(&challenge, &ask.repository, shown.header()).await?;
        if renewed.header().is_none() || renewed.header() == shown.header() {
            return Err(self.refused(ask).await);
        }
        let answer = self.exchange(ask, &renewed).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(self.refused(ask).await);
        }
        Ok(answer)
    }

    fn known_challenge(&self) -> Option<Challenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn exchange(&self, ask: &Ask, shown: &Shown) -> Result<Answer, Failure> {
        let request = ask.request(shown.header().cloned());
        self.transport.exchange(&self.endpoint, &ask.path, &request).await
    }

    /// What answers a challenge, other than what was `refused` just now.
    async fn login(
        &self,
        challenge: &Challenge,
        repository: &str,
        refused: Option<&HeaderValue>,
    ) -> Result<Shown, Failure> {
        let registry = &self.endpoint.registry;
        let (realm, service) = match challenge {
            Challenge::Bearer { realm, service } => (realm, service.as_deref()),
            Challenge::Basic => {
                // An identity token opens nothing but a token server.
                let login = self.credentials.find(registry).await?;
                let login = login.filter(|login| login.identity_token.is_none());
                let header = login.as_ref().map(basic).transpose()?;
                return Ok(header.map_or(Shown::Nothing, Shown::Kept));
            }
        };
        let slot = self.tokens.slot(repository);
        let mut slot = slot.lock().await;
        let is_usable =
            |token: &&token::Token| token.is_good(Instant::now()) && Some(&token.header) != refused;
        if let Some(token) = slot.as_ref().filter(is_usable) {
            return Ok(Shown::Kept(token.header.clone()));
        }
        let credentials = self.credentials.find(registry).await?;
        let wanted = TokenRequest { realm, service, repository, credentials: credentials.as_ref() };
        let token = token::fetch(&self.transport, &self.endpoint, &wanted).await?;
        Ok(Shown::Fresh(slot.insert(token).header.clone()))
    }

    async fn refused(&self, ask: &Ask) -> Failure {
        let Endpoint { registry, host, .. } = &self.endpoint;
        let is_anonymous = matches!(self.credentials.find(registry).await, Ok(None));
        let mut failure = Failure::unauthorized(match is_anonymous {
            true => format!("{host} wants a login for {}, and there is none", ask.what),
            false => format!("{host} refuses our login for {}", ask.what),
        });
        failure.error.is_anonymous = is_anonymous;
        failure
    }

    /// What any other status than 200 means.
    pub fn accept(&self, ask: &Ask, answer: Answer) -> Result<Answer, Failure> {
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let Answer { status, headers, body } = answer;
        Err(refusal(status, &headers, &body, &self.endpoint.host, &ask.what))
    }
}
