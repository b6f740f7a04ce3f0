//! Common helpers: a client under test, a recording observer, and short constructors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotfish::core::decide::offer::LookupError;
use pilotfish::core::docker::reference::{Platform, Reference};
use pilotfish::registry::{HostSettings, HttpRegistry, Limits, RegistryObserver, RegistrySettings};

/// Records the calls for the metrics.
#[derive(Default)]
pub struct Observed {
    pub requests: Mutex<Vec<(String, String)>>,
    pub remaining: Mutex<Vec<(String, u64)>>,
}

impl Observed {
    /// The codes of all requests so far, in order.
    pub fn codes(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("not poisoned");
        requests.iter().map(|(_, code)| code.clone()).collect()
    }
}

impl RegistryObserver for Observed {
    fn request(&self, registry: &str, code: &str) {
        let mut requests = self.requests.lock().expect("not poisoned");
        requests.push((registry.to_owned(), code.to_owned()));
    }

    fn rate_limit_remaining(&self, registry: &str, remaining: u64) {
        self.remaining.lock().expect("not poisoned").push((registry.to_owned(), remaining));
    }
}

/// Settings that do not depend on the machine of the tests.
pub fn settings(directory: &Path) -> RegistrySettings {
    RegistrySettings {
        hosts: BTreeMap::new(),
        certs_dir: directory.join("certs.d"),
        docker_config: Some(directory.join("config.json")),
    }
}

/// The same with settings for one registry.
pub fn settings_for(directory: &Path, registry: &str, host: HostSettings) -> RegistrySettings {
    let hosts = BTreeMap::from([(registry.to_owned(), host)]);
    RegistrySettings { hosts, ..settings(directory) }
}

/// Short timeouts for tests, and no pause after a failure.
pub fn short_limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        helper_timeout: Duration::from_secs(5),
        pause_first: Duration::ZERO,
        pause_longest: Duration::ZERO,
    }
}

/// A client that retries at once after a failure.
pub fn client(settings: &RegistrySettings) -> HttpRegistry {
    client_with_observer(settings, Arc::default())
}

pub fn client_with_observer(settings: &RegistrySettings, observed: Arc<Observed>) -> HttpRegistry {
    HttpRegistry::with_limits(settings.clone(), observed, short_limits()).expect("good settings")
}

pub fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().expect("a reference")
}

pub fn platform(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Platform { os: next(), architecture: next(), variant: next() }
}

/// `reason: sentence`, with the host replaced by HOST.
pub fn error_text<T>(result: Result<T, LookupError>, registry: &str) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.reason, error.detail.replace(registry, "HOST")),
    }
}
