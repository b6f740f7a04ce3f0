//! Certificates: which are trusted for a host, which one we show, and one client per trust set.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};

use crate::registry::endpoint::is_loopback;
use crate::registry::failure::Trouble;
use crate::registry::settings::{HostSettings, Limits, RegistrySettings};

/// How we introduce ourselves.
const USER_AGENT: &str = concat!("pilotfish/", env!("CARGO_PKG_VERSION"));

/// How long a connection without work is kept: through one round, not until the next. Its
/// buffers and its TLS state are memory that a small Pi needs.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);

/// Most hosts whose client is remembered. Redirects lead to hosts that nobody configured.
const CLIENTS_MAX: usize = 64;

/// The clients, one per trust set: a host with certificates of its own never shares one.
pub(super) struct Clients {
    certs_dir: PathBuf,
    ca_files: BTreeMap<String, PathBuf>,
    connect_timeout: Duration,
    common: OnceLock<Result<Common, String>>,
    by_host: Mutex<HashMap<String, Client>>,
}

/// What hosts without files of their own share.
struct Common {
    roots: Arc<RootCertStore>,
    outside: Client,
    /// For this very machine, which is never asked through a proxy.
    loopback: Client,
}

/// A host's own files.
#[derive(Default)]
struct OwnFiles {
    authorities: Vec<PathBuf>,
    /// The certificate we show, and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Clients {
    /// Where certificates are looked for. Nothing is read before the first host is asked.
    pub fn new(settings: &RegistrySettings, limits: &Limits) -> Self {
        let ca_file = |(host, settings): (&String, &HostSettings)| {
            Some((host.clone(), settings.ca_file.clone()?))
        };
        Self {
            certs_dir: settings.certs_dir.clone(),
            ca_files: settings.hosts.iter().filter_map(ca_file).collect(),
            connect_timeout: limits.connect_timeout,
            common: OnceLock::new(),
            by_host: Mutex::default(),
        }
    }

    /// The client for a host. Reads files the first time: call it where that may block.
    pub fn build(&self, host: &str) -> Result<Client, Trouble> {
        let setup = |problem: String| Trouble::Setup(format!("certificates for {host}: {problem}"));
        let common = self.common.get_or_init(|| self.common()).as_ref();
        let common = common.map_err(|problem| setup(problem.clone()))?;
        let files = self.own_files(host).map_err(setup)?;
        let client = if files.is_empty() {
            if is_loopback(host) { common.loopback.clone() } else { common.outside.clone() }
        } else {
            let config = own_config(&common.roots, &files).map_err(setup)?;
            self.client(config, is_loopback(host)).map_err(setup)?
        };
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        if by_host.len() >= CLIENTS_MAX {
            by_host.clear();
        }
        by_host.insert(host.to_owned(), client.clone());
        Ok(client)
    }

    /// The client of a host that was asked before.
    pub fn remembered(&self, host: &str) -> Option<Client> {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    /// Looks at the files again next time: somebody may have mended them.
    pub fn forget(&self, host: &str) {
        self.by_host.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    fn common(&self) -> Result<Common, String> {
        let roots = Arc::new(common_roots());
        let config = common_config(roots.clone())?;
        let outside = self.client(config.clone(), false)?;
        let loopback = self.client(config, true)?;
        Ok(Common { roots, outside, loopback })
    }

    fn client(&self, config: ClientConfig, loopback: bool) -> Result<Client, String> {
        let builder = Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(USER_AGENT)
            // Followed by hand, so that no login crosses to another host.
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION);
        let builder = if loopback { ClientBuilder::no_proxy(builder) } else { builder };
        builder.build().map_err(|error| error.to_string())
    }

    /// The files that the Engine would take (`ReadCertsDirectory`): every `*.crt` is an
    /// authority, and a `*.cert` with its `*.key` is shown to the host. Of several the first
    /// in the order of their names.
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

/// The paths in a directory, in the order of their names; none where there is no directory.
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

/// The bundled roots, and those of the system that are not among them: an image `FROM scratch`
/// has no store, and a company's machine has more than the bundle. Errors of the store count
/// for nothing, since every machine has some rotten file in it.
fn common_roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut system = RootCertStore::empty();
    system.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let is_new = |anchor: &TrustAnchor<'static>| {
        let is_same = |known: &TrustAnchor<'static>| {
            known.subject == anchor.subject
                && known.subject_public_key_info == anchor.subject_public_key_info
        };
        !webpki_roots::TLS_SERVER_ROOTS.iter().any(is_same)
    };
    roots.roots.extend(system.roots.into_iter().filter(is_new));
    roots
}

fn common_config(roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn own_config(common: &Arc<RootCertStore>, files: &OwnFiles) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::clone(common);
    for path in &files.authorities {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let Some((certificate, key)) = &files.identity else {
        return common_config(Arc::new(roots));
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| format!("{} holds no private key", key.display()))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
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
