//! What is known of each host: its scheme, and what the operator and the Engine allow for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::time::{Instant, timeout};

use crate::core::docker::address_scope::{AddressRefusal, AddressScope, NamedAddress};
use crate::core::docker::engine_registries::{EngineRegistries, Proxies};
use crate::registry::protocol::endpoint::{address_of, host_name, host_of, is_loopback};
use crate::registry::protocol::http::literal;
use crate::registry::protocol::settings::RegistrySettings;

/// How long a host counts as insecure because its name led to an insecure network. Then the name is
/// resolved again.
const INSECURE_NAME_LIFE: Duration = Duration::from_secs(10 * 60);

/// Longest time to resolve a name with the resolver of this machine.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// The scheme that a host was found to speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Scheme {
    Tls,
    Plain,
}

/// What is known of all hosts.
pub(in crate::registry) struct HostTable {
    /// Hosts that the settings allow without TLS.
    plain: BTreeSet<String>,
    /// Hosts named in Pilotfish's settings.
    named: BTreeSet<String>,
    engine: RwLock<Arc<EngineRegistries>>,
    schemes: Mutex<HashMap<String, Scheme>>,
    /// Hosts that spoke TLS, now or before this program was started.
    spoke_tls: Mutex<Vec<String>>,
    /// Hosts whose name led into one of the Engine's insecure networks, and when.
    insecure_names: Mutex<HashMap<String, Instant>>,
}

impl HostTable {
    /// Nothing is known yet except the settings.
    pub fn new(settings: &RegistrySettings, plain: BTreeSet<String>) -> Self {
        Self {
            plain,
            named: settings.hosts.keys().cloned().collect(),
            engine: RwLock::default(),
            schemes: Mutex::default(),
            spoke_tls: Mutex::default(),
            insecure_names: Mutex::default(),
        }
    }

    /// Sets what the Engine allows. Returns the proxies from before, if anything changed.
    pub fn follow_engine(&self, engine: &EngineRegistries) -> Option<Proxies> {
        if **self.engine() == *engine {
            return None;
        }
        let mut known = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, Arc::new(engine.clone()));
        lock(&self.insecure_names).clear();
        Some(before.proxies.clone())
    }

    fn engine(&self) -> impl Deref<Target = Arc<EngineRegistries>> + '_ {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a host may be used without TLS.
    pub fn may_speak_plain(&self, host: &str) -> bool {
        is_loopback(host) || self.was_allowed_plain(host) || self.is_insecure(host)
    }

    /// Whether the operator allowed exactly this host without TLS: in Pilotfish's settings or in
    /// the Engine's.
    fn was_allowed_plain(&self, host: &str) -> bool {
        self.plain.contains(host) || self.engine().is_insecure_by_name(host)
    }

    /// Whether the Engine does not check the certificate of this host: by its name, its address, or
    /// the address that its name recently led to.
    pub fn is_insecure(&self, host: &str) -> bool {
        let engine = self.engine();
        let address = address_of(host);
        let is_fresh = |since: &Instant| since.elapsed() < INSECURE_NAME_LIFE;
        engine.is_insecure_by_name(host)
            || address.is_some_and(|address| engine.is_insecure_by_address(address))
            || lock(&self.insecure_names).get(host).is_some_and(is_fresh)
    }

    /// Finds out whether a name leads into one of the Engine's insecure networks with all of its
    /// addresses, because one of several could be there only to avoid the certificate check.
    pub async fn resolves_to_insecure_network(&self, host: &str) -> bool {
        let engine = Arc::clone(&*self.engine());
        if engine.insecure_networks.is_empty() || address_of(host).is_some() {
            return false;
        }
        let look_up = tokio::net::lookup_host((host_name(host).to_owned(), 0));
        let Ok(Ok(found)) = timeout(LOOK_UP_TIMEOUT, look_up).await else { return false };
        let mut found = found.peekable();
        let is_insecure = found.peek().is_some()
            && found.all(|address| engine.is_insecure_by_address(address.ip()));
        if is_insecure {
            lock(&self.insecure_names).insert(host.to_owned(), Instant::now());
        }
        is_insecure
    }

    /// Whether a host in this scope may redirect to a URL, and how far inside the name in it may
    /// lead.
    pub fn judge(
        &self,
        to: &Url,
        (from, place): (&Url, AddressScope),
    ) -> Result<Option<AddressScope>, AddressRefusal> {
        let host = host_of(to);
        let may_speak_plain = self.was_allowed_plain(&host);
        let named = NamedAddress {
            is_tls: to.scheme() == "https",
            is_same: to.origin() == from.origin(),
            is_operators: self.named.contains(&host) || may_speak_plain,
            may_speak_plain,
            literal: literal(to).map(AddressScope::of),
        };
        named.judge(place, from.scheme() == "https")
    }

    /// The scheme that a host was found to speak.
    pub fn scheme(&self, host: &str) -> Option<Scheme> {
        lock(&self.schemes).get(host).copied()
    }

    /// Records the scheme of a host; `None` if it must be found out again.
    pub fn note(&self, host: &str, scheme: Option<Scheme>) {
        let mut schemes = lock(&self.schemes);
        match scheme {
            Some(scheme) => schemes.insert(host.to_owned(), scheme),
            None => schemes.remove(host),
        };
        let mut spoke_tls = lock(&self.spoke_tls);
        if scheme == Some(Scheme::Tls) && !spoke_tls.iter().any(|known| known == host) {
            spoke_tls.push(host.to_owned());
        }
    }

    /// Whether a host ever spoke TLS.
    pub fn ever_spoke_tls(&self, host: &str) -> bool {
        lock(&self.spoke_tls).iter().any(|known| known == host)
    }

    /// Whether a host that spoke TLS before does not speak it now.
    pub fn was_stripped(&self, host: &str) -> bool {
        self.scheme(host) == Some(Scheme::Plain) && self.ever_spoke_tls(host)
    }

    /// The hosts that spoke TLS, the latest last.
    pub fn tls_hosts(&self) -> Vec<String> {
        lock(&self.spoke_tls).clone()
    }

    /// Adds hosts that spoke TLS before this program was started.
    pub fn remember_tls(&self, hosts: &[String]) {
        let mut known = lock(&self.spoke_tls);
        let new: Vec<_> = hosts.iter().filter(|host| !known.contains(host)).cloned().collect();
        known.extend(new);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(networks: &[&str]) -> HostTable {
        let hosts = HostTable::new(&RegistrySettings::default(), BTreeSet::new());
        let networks = networks.iter().map(|text| text.parse().expect("a network"));
        let insecure_networks = networks.collect();
        hosts.follow_engine(&EngineRegistries { insecure_networks, ..EngineRegistries::default() });
        hosts
    }

    #[tokio::test]
    async fn a_name_counts_as_insecure_by_all_of_its_addresses() {
        let both = hosts(&["127.0.0.0/8", "::1/128"]);
        assert!(!both.is_insecure("localhost:5000"), "it has not been looked up");
        assert!(both.resolves_to_insecure_network("localhost:5000").await);
        assert!(both.is_insecure("localhost:5000") && both.may_speak_plain("localhost:5000"));
        assert!(both.is_insecure("127.0.0.1:5000") && both.is_insecure("[::1]:5000"));
        assert!(!both.is_insecure("192.0.2.1:5000"));
        let elsewhere = hosts(&["10.0.0.0/8"]);
        assert!(!elsewhere.resolves_to_insecure_network("localhost:5000").await);
        assert!(!hosts(&[]).resolves_to_insecure_network("localhost:5000").await);
    }

    #[test]
    fn a_host_that_spoke_tls_is_remembered_over_restarts() {
        let hosts = hosts(&[]);
        hosts.remember_tls(&["before".to_owned()]);
        assert!(hosts.ever_spoke_tls("before") && !hosts.was_stripped("before"));
        hosts.note("before", Some(Scheme::Plain));
        assert!(hosts.was_stripped("before"));
        hosts.note("now", Some(Scheme::Tls));
        hosts.note("now", Some(Scheme::Tls));
        assert_eq!(hosts.tls_hosts(), ["before", "now"]);
    }
}
