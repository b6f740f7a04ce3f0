//! What every test needs: a client under test, an observer that remembers, and short ways to ask.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilotfish::core::decide::offer::LookupError;
use pilotfish::core::docker::reference::{Platform, Reference};
use pilotfish::registry::{HostSettings, HttpRegistry, Limits, RegistryObserver, RegistrySettings};

/// Remembers what the metrics would hear.
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

/// Settings that know nothing of the machine the tests run on.
pub fn settings(directory: &Path) -> RegistrySettings {
    RegistrySettings {
        hosts: BTreeMap::new(),
        certs_dir: directory.join("certs.d"),
        docker_config: Some(directory.join("config.json")),
    }
}

/// The same with something set for one registry.
pub fn settings_for(directory: &Path, registry: &str, host: HostSettings) -> RegistrySettings {
    let hosts = BTreeMap::from([(registry.to_owned(), host)]);
    RegistrySettings { hosts, ..settings(directory) }
}

/// Time-outs that a test can wait for, and no pause after a failure.
pub fn impatient() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(5),
        helper_timeout: Duration::from_secs(5),
        pause_first: Duration::ZERO,
        pause_longest: Duration::ZERO,
    }
}

/// A client that asks again at once after a failure.
pub fn client(settings: &RegistrySettings) -> HttpRegistry {
    client_heard_by(settings, Arc::default())
}

pub fn client_heard_by(settings: &RegistrySettings, heard: Arc<Observed>) -> HttpRegistry {
    HttpRegistry::with_limits(settings.clone(), heard, impatient()).expect("good settings")
}

pub fn reference(registry: &str, rest: &str) -> Reference {
    format!("{registry}/{rest}").parse().expect("a reference")
}

pub fn platform(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Platform { os: next(), architecture: next(), variant: next() }
}

/// `reason: sentence`, with the port taken out of it.
pub fn told<T>(result: Result<T, LookupError>, registry: &str) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.reason, error.detail.replace(registry, "HOST")),
    }
}
