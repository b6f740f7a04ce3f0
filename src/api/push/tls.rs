//! TLS of the push API: only clients with a certificate of the authority, which no list revokes.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use crate::config::PushFiles;
use crate::core::push::client::PushClient;
use crate::core::secret_file::exposed;

/// Largest file in bytes: a list of ten thousand revoked certificates has half of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why the push API has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum PushTlsError {
    #[error("cannot read {key} {file}")]
    Unreadable { key: &'static str, file: String, source: io::Error },
    #[error("{key} {file} is not a file of at most {FILE_BYTES_MAX} bytes")]
    NotAFile { key: &'static str, file: String },
    #[error("{key} {file} is not PEM: {source}")]
    NotPem { key: &'static str, file: String, source: pem::Error },
    #[error("{key} {file} has no {what}")]
    Empty { key: &'static str, file: String, what: &'static str },
    /// Other users can read the key.
    #[error("push.key_file is not secret: {0}")]
    Exposed(String),
    /// The files do not belong together, or are of an unknown kind.
    #[error("{what} cannot be used: {why}")]
    Unusable { what: String, why: String },
    /// Two authorities may give the same serial number.
    #[error(
        "push.client_ca_file {0} has several authorities, and a [[push.allow]] names a client by \
         its serial number, which each of them may give: use uri:, dns: or sha256:"
    )]
    AmbiguousSerials(String),
}

/// The TLS of the push API. Each new connection has the newest files.
#[derive(Debug)]
pub struct PushTls {
    files: PushFiles,
    uses_serials: bool,
    current: Mutex<CurrentFiles>,
}

#[derive(Debug)]
struct CurrentFiles {
    config: Arc<ServerConfig>,
    versions: Vec<FileVersion>,
}

/// Device, file, size and time of a file; absent if there is none. A renewal changes one of them.
type FileVersion = Option<(u64, u64, u64, i64, i64)>;

impl PushTls {
    /// Reads all files. `uses_serials`: whether rules know clients by serial numbers.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub fn read(files: &PushFiles, uses_serials: bool) -> Result<Self, PushTlsError> {
        let versions = versions(files);
        let config = Arc::new(config_of(files, uses_serials)?);
        let current = Mutex::new(CurrentFiles { config, versions });
        Ok(Self { files: files.clone(), uses_serials, current })
    }

    /// For the next connection. Files that changed are read again, so that a revocation counts from
    /// the next connection on. Files that cannot be used are reported once, and those before stay:
    /// a renewal writes one file after the other.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = versions(&self.files);
        if versions != current.versions {
            current.versions = versions;
            match config_of(&self.files, self.uses_serials) {
                Ok(config) => {
                    current.config = Arc::new(config);
                    tracing::info!("the push API uses its changed certificates and lists");
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::warn!(
                        "the push API keeps the certificates and lists it had: {error:#}"
                    );
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

fn versions(files: &PushFiles) -> Vec<FileVersion> {
    let PushFiles { cert_file, key_file, client_ca_file, crl_file } = files;
    let all = [cert_file, key_file, client_ca_file].into_iter().chain(crl_file);
    let version = |file| {
        let it = std::fs::metadata(file).ok()?;
        Some((it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec()))
    };
    all.map(version).collect()
}

fn config_of(files: &PushFiles, uses_serials: bool) -> Result<ServerConfig, PushTlsError> {
    let (roots, authorities) = roots(&files.client_ca_file)?;
    if uses_serials && authorities > 1 {
        return Err(PushTlsError::AmbiguousSerials(files.client_ca_file.display().to_string()));
    }
    let mut builder = WebPkiClientVerifier::builder(Arc::new(roots));
    if let Some(file) = &files.crl_file {
        // Each certificate of a chain must be on no list, and a list that is out of date refuses
        // all: nobody knows who was revoked since then.
        builder = builder.with_crls(lists(file)?).enforce_revocation_expiration();
    }
    let verifier = builder.build().map_err(|error| PushTlsError::Unusable {
        what: "push.client_ca_file or push.crl_file".to_owned(),
        why: error.to_string(),
    })?;
    let chain = certificates("push.cert_file", &files.cert_file)?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private_key(&files.key_file)?)
        .map_err(|error| PushTlsError::Unusable {
            what: format!(
                "push.cert_file {} with push.key_file {}",
                files.cert_file.display(),
                files.key_file.display()
            ),
            why: error.to_string(),
        })?;
    // A resumed session skips the look at the client's certificate and at the list.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The authorities of the clients, and their number.
fn roots(file: &Path) -> Result<(RootCertStore, usize), PushTlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("push.client_ca_file", file)? {
        roots.add(certificate).map_err(|error| PushTlsError::Unusable {
            what: format!("push.client_ca_file {}", file.display()),
            why: error.to_string(),
        })?;
    }
    let number = roots.len();
    Ok((roots, number))
}

fn lists(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PushTlsError> {
    const KEY: &str = "push.crl_file";
    let bytes = read(KEY, file)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    not_empty(KEY, file, "revocation list (PEM)", lists)
}

fn certificates(
    key: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, PushTlsError> {
    let bytes = read(key, file)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    not_empty(key, file, "certificate (PEM)", found)
}

fn not_empty<T>(
    key: &'static str,
    file: &Path,
    what: &'static str,
    found: Result<Vec<T>, pem::Error>,
) -> Result<Vec<T>, PushTlsError> {
    let file = || file.display().to_string();
    let found = found.map_err(|source| PushTlsError::NotPem { key, file: file(), source })?;
    if found.is_empty() { Err(PushTlsError::Empty { key, file: file(), what }) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, PushTlsError> {
    const KEY: &str = "push.key_file";
    let bytes = read(KEY, file)?;
    let mode = std::fs::metadata(file).map_or(0, |it| it.permissions().mode());
    if let Some(why) = exposed(file, mode) {
        return Err(PushTlsError::Exposed(why));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| PushTlsError::NotPem {
        key: KEY,
        file: file.display().to_string(),
        source,
    })
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, PushTlsError> {
    let name = || file.display().to_string();
    let failed = |source| PushTlsError::Unreadable { key, file: name(), source };
    let metadata = std::fs::metadata(file).map_err(failed)?;
    // Reading a pipe could wait without a limit.
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(PushTlsError::NotAFile { key, file: name() });
    }
    std::fs::read(file).map_err(failed)
}

/// What a verified certificate says about its client.
pub(super) fn client_of(certificate: &CertificateDer<'_>) -> Option<PushClient> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(PushClient {
        dns_names: parsed.valid_dns_names().map(str::to_owned).collect(),
        uris: parsed.valid_uri_names().map(str::to_owned).collect(),
        ..PushClient::new(parsed.serial(), &Sha256::digest(certificate))
    })
}
