//! The registry client. For each registry it asks the mirrors first, then the registry itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::quota::Quota;
use crate::core::decide::reason::Reason;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::reference::{DOCKER_HUB, Digest, Platform, Reference};
use crate::core::mirror::refusal::CopyError;
use crate::registry::lookup::digest::{Missing, head};
use crate::registry::lookup::resolution::Resolution;
use crate::registry::protocol::credentials::CredentialFinder;
use crate::registry::protocol::endpoint::RegistryEndpoint;
use crate::registry::protocol::session::Session;
use crate::registry::protocol::settings::{HostSettings, Limits, RegistrySettings, SettingsError};
use crate::registry::protocol::transport::Transport;
use crate::registry::transfer::At;
use crate::registry::{Registry, RegistryObserver};

/// Most hosts with a remembered session. No Pi asks that many.
const SESSIONS_MAX: usize = 200;

/// Asks registries over HTTP.
///
/// One client serves the agent for its whole life: it keeps connections, tokens, the scheme of each
/// host, and which hosts are paused.
pub struct HttpRegistry {
    mirrors: HashMap<String, Vec<RegistryEndpoint>>,
    /// The Engine's mirrors of Docker Hub.
    engine_mirrors: Mutex<Vec<RegistryEndpoint>>,
    transport: Arc<Transport>,
    credentials: Arc<CredentialFinder>,
    limits: Limits,
    sessions: Mutex<HashMap<RegistryEndpoint, Arc<Session>>>,
}

impl fmt::Debug for HttpRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpRegistry").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl HttpRegistry {
    /// A client with the default limits.
    ///
    /// # Errors
    /// Invalid settings. Files are read later, so that a missing file affects only its own host.
    pub fn new(
        settings: RegistrySettings,
        observer: Arc<dyn RegistryObserver>,
    ) -> Result<Self, SettingsError> {
        Self::with_limits(settings, observer, Limits::default())
    }

    /// A client with other limits, for tests.
    ///
    /// # Errors
    /// As [`HttpRegistry::new`].
    pub fn with_limits(
        settings: RegistrySettings,
        observer: Arc<dyn RegistryObserver>,
        limits: Limits,
    ) -> Result<Self, SettingsError> {
        let mut mirrors = HashMap::new();
        let mut plain_hosts = BTreeSet::new();
        for (registry, host) in &settings.hosts {
            check_login(registry, host)?;
            let of_registry = mirrors_of(registry, host, &settings)?;
            let own = RegistryEndpoint::of_registry(registry, host.plain_http);
            let plain = of_registry.iter().chain([&own]).filter(|endpoint| endpoint.plain_http);
            plain_hosts.extend(plain.map(|endpoint| endpoint.host.clone()));
            mirrors.insert(registry.clone(), of_registry);
        }
        Ok(Self {
            mirrors,
            engine_mirrors: Mutex::default(),
            transport: Arc::new(Transport::new(&settings, plain_hosts, limits, observer)),
            credentials: Arc::new(CredentialFinder::new(settings, &limits)),
            limits,
            sessions: Mutex::default(),
        })
    }

    /// The sessions with a registry's mirrors, in order, and the session with the registry itself.
    ///
    /// They are asked one after the other until one answers, as the Engine does. Only a failure of
    /// the registry itself counts: a mirror may lack any image.
    fn sessions(&self, registry: &str) -> (Vec<Arc<Session>>, Arc<Session>) {
        let mut mirrors = self.mirrors.get(registry).cloned().unwrap_or_default();
        if registry == DOCKER_HUB {
            let engine = self.engine_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new =
                |mirror: &&RegistryEndpoint| mirrors.iter().all(|own| own.host != mirror.host);
            let more: Vec<_> = engine.iter().filter(is_new).cloned().collect();
            mirrors.extend(more);
        }
        let mirrors = mirrors.into_iter().map(|mirror| self.session(mirror)).collect();
        (mirrors, self.own_session(registry))
    }

    /// The session with the registry itself.
    pub(in crate::registry) fn own_session(&self, registry: &str) -> Arc<Session> {
        let plain_http = self.transport.hosts.may_speak_plain(registry);
        self.session(RegistryEndpoint::of_registry(registry, plain_http))
    }

    fn session(&self, endpoint: RegistryEndpoint) -> Arc<Session> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| Arc::strong_count(session) > 1);
        }
        let session = sessions.entry(endpoint).or_insert_with_key(|endpoint| {
            let (transport, credentials) = (self.transport.clone(), self.credentials.clone());
            Arc::new(Session::new(endpoint.clone(), transport, credentials, &self.limits))
        });
        session.clone()
    }
}

impl Registry for HttpRegistry {
    async fn head(&self, reference: &Reference) -> Result<Digest, LookupError> {
        let (mirrors, own) = self.sessions(&reference.registry);
        let mut is_missing_on_mirror = false;
        for mirror in mirrors {
            match head(&mirror, reference, Missing::IsClear).await {
                Ok(digest) => return Ok(digest),
                Err(error) => is_missing_on_mirror |= error.reason == Reason::NotFound,
            }
        }
        let answer = head(&own, reference, Missing::AskAgain).await;
        answer.map_err(|error| LookupError { is_missing_on_mirror, ..error })
    }

    async fn resolve(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<Offer, LookupError> {
        let (mirrors, own) = self.sessions(&reference.registry);
        for mirror in mirrors {
            let resolution = Resolution::new(&mirror, reference, platform);
            if let Ok(offer) = Box::pin(resolution.run(digest)).await {
                return Ok(offer);
            }
        }
        Box::pin(Resolution::new(&own, reference, platform).run(digest)).await
    }

    async fn document(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Vec<u8>, LookupError> {
        let session = self.own_session(&reference.registry);
        let at = At { session: &session, repository: &reference.repository };
        match at.manifest(digest).await {
            Ok(raw) => Ok(raw.bytes.to_vec()),
            Err(CopyError::Failed(error)) => Err(error),
            Err(refused) => Err(LookupError::new(Reason::RegistryError, refused.to_string())),
        }
    }

    async fn credentials(&self, registry: &str) -> Result<Option<Credentials>, LookupError> {
        // The Engine would send it in clear text.
        if self.transport.hosts.was_stripped(&RegistryEndpoint::of_registry(registry, false).host) {
            return Ok(None);
        }
        Ok(self.credentials.find(registry).await.login)
    }

    fn quotas(&self) -> BTreeMap<String, Quota> {
        self.transport.quotas()
    }

    fn follow_engine(&self, engine: &EngineRegistries) {
        if !self.transport.follow_engine(engine) {
            return;
        }
        let mut followed = Vec::new();
        for mut mirror in
            engine.mirrors.iter().filter_map(|mirror| RegistryEndpoint::of_mirror(mirror))
        {
            mirror.plain_http |= self.transport.hosts.may_speak_plain(&mirror.registry);
            followed.push(mirror);
        }
        *self.engine_mirrors.lock().unwrap_or_else(PoisonError::into_inner) = followed;
    }

    fn tls_hosts(&self) -> Vec<String> {
        self.transport.hosts.tls_hosts()
    }

    fn remember_tls(&self, hosts: &[String]) {
        self.transport.hosts.remember_tls(hosts);
    }
}

fn check_login(registry: &str, host: &HostSettings) -> Result<(), SettingsError> {
    if host.username.is_some() == host.password_file.is_some() {
        return Ok(());
    }
    Err(SettingsError::HalfLogin { registry: registry.to_owned() })
}

fn mirrors_of(
    registry: &str,
    host: &HostSettings,
    settings: &RegistrySettings,
) -> Result<Vec<RegistryEndpoint>, SettingsError> {
    let endpoint = |mirror: &String| {
        let mut endpoint = RegistryEndpoint::of_mirror(mirror).ok_or_else(|| {
            SettingsError::Mirror { registry: registry.to_owned(), mirror: mirror.clone() }
        })?;
        endpoint.plain_http |=
            settings.hosts.get(&endpoint.registry).is_some_and(|own| own.plain_http);
        Ok(endpoint)
    };
    host.mirrors.iter().map(endpoint).collect()
}
