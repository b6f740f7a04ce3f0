//! Certificates: the trusted ones for a host, the client certificate, and one client per trust set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Url, redirect, retry};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};

use crate::core::docker::address_scope::AddressScope;
use crate::core::docker::engine_registries::Proxies;
use crate::registry::protocol::dns::Guarded;
use crate::registry::protocol::endpoint::is_loopback;
use crate::registry::protocol::error::ExchangeError;
use crate::registry::protocol::proxy::ProxyRules;
use crate::registry::protocol::settings::{HostSettings, Limits, RegistrySettings};
use crate::registry::protocol::verifier::{AnyCertificate, Trusted, Verifier, fingerprint};

/// The `User-Agent` of every request.
pub(in crate::registry) const USER_AGENT: &str = concat!("pilotfish/", env!("CARGO_PKG_VERSION"));

/// How long an idle connection is kept: for one round, not until the next, because its buffers and
/// its TLS state take memory that a small Pi needs.
pub(in crate::registry) const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// Most hosts with a remembered client. Redirects lead to hosts that are not configured.
const CLIENTS_MAX: usize = 64;

/// Most headers of an answer, the default of the HTTP library.
pub(in crate::registry) const HEADERS_MAX: usize = 100;

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::registry) struct Way {
    /// The host, under the name of its certificates.
    pub host: String,
    /// Whether the Engine does not check its certificate.
    pub is_insecure: bool,
    /// The scope of the registry that redirects to this host; `None` for a host that the operator
    /// named.
    pub sent_from: Option<AddressScope>,
}

impl Way {
    /// The way to a host that the operator named.
    pub fn to(host: &str) -> Self {
        Self { host: host.to_owned(), is_insecure: false, sent_from: None }
    }
}

/// The HTTP clients, one per trust set: a host with certificates of its own never shares one.
pub(in crate::registry) struct Clients {
    certs_dir: PathBuf,
    ca_files: BTreeMap<String, PathBuf>,
    connect_timeout: Duration,
    proxies: RwLock<Arc<ProxyRules>>,
    common: Mutex<Option<Result<Arc<SharedTrust>, String>>>,
    by_way: Mutex<HashMap<Way, Client>>,
    /// What is wrong with the files of a host. It only matters if the host is not trusted.
    flaws: Mutex<BTreeMap<String, String>>,
}

/// Shared by hosts without files of their own.
struct SharedTrust {
    trusted: Trusted,
    outside: Client,
    /// For this machine, which is never reached through a proxy.
    loopback: Client,
}

/// A host's own files.
#[derive(Default)]
struct OwnFiles {
    authorities: Vec<PathBuf>,
    /// The client certificate, and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Clients {
    /// Where the certificates are. Nothing is read before the first request.
    pub fn new(settings: &RegistrySettings, limits: &Limits) -> Self {
        let ca_file = |(host, settings): (&String, &HostSettings)| {
            Some((host.clone(), settings.ca_file.clone()?))
        };
        Self {
            certs_dir: settings.certs_dir.clone(),
            ca_files: settings.hosts.iter().filter_map(ca_file).collect(),
            connect_timeout: limits.connect_timeout,
            proxies: RwLock::new(Arc::new(ProxyRules::new(&Proxies::default()))),
            common: Mutex::default(),
            by_way: Mutex::default(),
            flaws: Mutex::default(),
        }
    }

    /// The Engine's proxies are used if the environment names none.
    pub fn follow_proxies(&self, proxies: &Proxies) {
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(ProxyRules::new(proxies));
        *self.common.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.by_way.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether a URL is requested through a proxy.
    pub fn uses_proxy(&self, url: &Url) -> bool {
        self.proxies().intercepts(url)
    }

    fn proxies(&self) -> Arc<ProxyRules> {
        self.proxies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong with the files of a host.
    pub fn flaw(&self, host: &str) -> Option<String> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    /// The client for a host. It reads files the first time, so call it only where blocking is
    /// allowed.
    pub fn build(&self, way: &Way) -> Result<Client, ExchangeError> {
        let host = &way.host;
        let setup =
            |problem: String| ExchangeError::Setup(format!("certificates for {host}: {problem}"));
        let common = self.common().map_err(setup)?;
        let files = self.own_files(host).map_err(setup)?;
        let is_common = files.is_empty() && !way.is_insecure && way.sent_from.is_none();
        let client = match (is_common, is_loopback(host)) {
            (true, true) => common.loopback.clone(),
            (true, false) => common.outside.clone(),
            (false, _) => self.own_client(way, &common.trusted, &files).map_err(setup)?,
        };
        let mut by_way = self.by_way.lock().unwrap_or_else(PoisonError::into_inner);
        if by_way.len() >= CLIENTS_MAX {
            by_way.clear();
        }
        by_way.insert(way.clone(), client.clone());
        Ok(client)
    }

    /// The client of a host that was asked before.
    pub fn remembered(&self, way: &Way) -> Option<Client> {
        self.by_way.lock().unwrap_or_else(PoisonError::into_inner).get(way).cloned()
    }

    /// Reads the files again next time, because a person may have corrected them.
    pub fn forget(&self, host: &str) {
        let mut by_way = self.by_way.lock().unwrap_or_else(PoisonError::into_inner);
        by_way.retain(|way, _| way.host != host);
    }

    fn common(&self) -> Result<Arc<SharedTrust>, String> {
        let mut common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        common.get_or_insert_with(|| self.make_common().map(Arc::new)).clone()
    }

    fn make_common(&self) -> Result<SharedTrust, String> {
        let trusted = common_roots();
        let config = config(Arc::new(Verifier::new(&trusted)?), None)?;
        let outside = self.client(config.clone(), &Way::to(""))?;
        let loopback = self.client(config, &Way::to("localhost"))?;
        Ok(SharedTrust { trusted, outside, loopback })
    }

    /// The client for a host that shares none, with its own files.
    fn own_client(&self, way: &Way, common: &Trusted, files: &OwnFiles) -> Result<Client, String> {
        let mut flaws = Vec::new();
        let verifier: Arc<dyn ServerCertVerifier> = match way.is_insecure {
            true => Arc::new(AnyCertificate::default()),
            false => Arc::new(Verifier::new(&own_trust(common, files, &mut flaws))?),
        };
        let mut all = self.flaws.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&way.host);
        if !flaws.is_empty() && all.len() < CLIENTS_MAX {
            all.insert(way.host.clone(), flaws.join("; "));
        }
        drop(all);
        self.client(config(verifier, files.identity.as_ref())?, way)
    }

    fn client(&self, config: ClientConfig, way: &Way) -> Result<Client, String> {
        let proxies = self.proxies();
        let builder = Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(USER_AGENT)
            // Redirects are followed by our own code, so that no login goes to another host.
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_max_headers(HEADERS_MAX);
        let builder = match is_loopback(&way.host) {
            true => ClientBuilder::no_proxy(builder),
            false => proxies.apply(builder)?,
        };
        let guard = |from| Arc::new(Guarded { from, proxies: proxies.hosts.clone() });
        let builder = match way.sent_from {
            Some(from) => builder.dns_resolver(guard(from)),
            None => builder,
        };
        builder.build().map_err(|error| error.to_string())
    }

    /// The files that the Engine uses (`ReadCertsDirectory`): every `*.crt` is an authority, and a
    /// `*.cert` with its `*.key` is the client certificate. Of several the first one by name.
    fn own_files(&self, host: &str) -> Result<OwnFiles, String> {
        let mut files = OwnFiles::default();
        files.authorities.extend(self.ca_files.get(host).cloned());
        for path in list(&self.certs_dir.join(host))? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => files.authorities.push(path),
                Some("cert") if files.identity.is_none() => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        return Err(format!("{} is missing", key.display()));
                    }
                    files.identity = Some((path, key));
                }
                _ => {}
            }
        }
        Ok(files)
    }
}

impl OwnFiles {
    fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.identity.is_none()
    }
}

/// The paths in a directory, sorted by name; none if there is no directory.
fn list(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {}", directory.display(), error.kind());
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// The bundled roots, plus the system's roots that are not in the bundle: an image `FROM scratch`
/// has no store, and a company's machine has more than the bundle. Errors of the store are ignored,
/// because every machine has some broken file in it.
fn common_roots() -> Trusted {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut system = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs().certs;
    let pinned = Arc::new(found.iter().map(fingerprint).collect());
    system.add_parsable_certificates(found);
    let is_new = |anchor: &TrustAnchor<'static>| {
        let is_same = |known: &TrustAnchor<'static>| {
            known.subject == anchor.subject
                && known.subject_public_key_info == anchor.subject_public_key_info
        };
        !webpki_roots::TLS_SERVER_ROOTS.iter().any(is_same)
    };
    roots.roots.extend(system.roots.into_iter().filter(is_new));
    Trusted { roots: Arc::new(roots), pinned, authorities: Arc::default() }
}

/// The common trust plus a host's own files. Like the Engine, it ignores an unreadable file; the
/// problem is reported if the host turns out to be untrusted.
fn own_trust(common: &Trusted, files: &OwnFiles, flaws: &mut Vec<String>) -> Trusted {
    let mut roots = RootCertStore::clone(&common.roots);
    let mut pinned = BTreeSet::clone(&common.pinned);
    let mut authorities = Vec::new();
    for path in &files.authorities {
        let found = certificates(path).unwrap_or_else(|flaw| {
            flaws.push(flaw);
            Vec::new()
        });
        for certificate in found {
            pinned.insert(fingerprint(&certificate));
            authorities.push(certificate.clone());
            if let Err(error) = roots.add(certificate) {
                flaws.push(format!("{}: {error}", path.display()));
            }
        }
    }
    let (roots, pinned, authorities) = (Arc::new(roots), Arc::new(pinned), Arc::new(authorities));
    Trusted { roots, pinned, authorities }
}

/// The TLS configuration: the trusted certificates, and the client certificate.
fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| format!("{} holds no private key", key.display()))?;
    builder
        .with_client_auth_cert(chain, secret)
        .map_err(|error| format!("{}: {error}", certificate.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error| format!("{} holds no certificate: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() {
        Err(format!("{} holds no certificate", path.display()))
    } else {
        Ok(found)
    }
}
