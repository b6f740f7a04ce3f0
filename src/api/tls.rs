//! TLS of a listener: its certificate and its key, followed when they are renewed.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::core::secret_file::exposed;

/// Shortest time between two looks at the files: a renewal comes each few weeks, and the old
/// certificate is valid for days after it.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// A file cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        file: String,
        /// The system's error.
        source: io::Error,
    },
    #[error("{file} is not PEM with a certificate or a private key: {source}")]
    NotPem { file: String, source: pem::Error },
    #[error("{0} has no certificate")]
    Empty(String),
    /// Other users can read the key.
    #[error("webhook.key_file is not secret: {0}")]
    Exposed(String),
    /// They do not belong together, or are of an unknown kind.
    #[error("the certificate in {certificate} cannot be used with the key in {key}: {source}")]
    Unusable { certificate: String, key: String, source: rustls::Error },
}

/// The certificate and the key of a listener.
#[derive(Debug)]
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When the files were changed last, as far as they were read.
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl ServerTls {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be read, the key is no secret, or they do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, ServerTlsError> {
        let changed = changed(certificate, key);
        let config = Arc::new(config_of(certificate, key)?);
        let current = Mutex::new(Current { config, changed, looked: Instant::now() });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// For the next connection. Files that changed are read again; if they cannot be used, the
    /// certificate before stays, because a renewal writes one file after the other.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_INTERVAL {
            current.looked = Instant::now();
            let changed = changed(&self.certificate, &self.key);
            if changed != current.changed {
                current.changed = changed;
                match config_of(&self.certificate, &self.key) {
                    Ok(config) => {
                        current.config = Arc::new(config);
                        tracing::info!("the webhook listener uses its renewed certificate");
                    }
                    Err(error) => {
                        let error = anyhow::Error::from(error);
                        tracing::warn!("the webhook listener keeps its certificate: {error:#}");
                    }
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

fn changed(certificate: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [certificate, key].map(|file| std::fs::metadata(file).and_then(|it| it.modified()).ok())
}

fn config_of(certificate: &Path, key: &Path) -> Result<ServerConfig, ServerTlsError> {
    let name = |file: &Path| file.display().to_string();
    let text = |file: &Path| {
        std::fs::read(file)
            .map_err(|source| ServerTlsError::Unreadable { file: name(file), source })
    };
    let not_pem = |file: &Path, source| ServerTlsError::NotPem { file: name(file), source };
    let chain = CertificateDer::pem_slice_iter(&text(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| not_pem(certificate, error))?;
    if chain.is_empty() {
        return Err(ServerTlsError::Empty(name(certificate)));
    }
    let private = text(key)?;
    let mode = std::fs::metadata(key).map_or(0, |it| it.permissions().mode());
    if let Some(why) = exposed(key, mode) {
        return Err(ServerTlsError::Exposed(why));
    }
    let private = PrivateKeyDer::from_pem_slice(&private).map_err(|error| not_pem(key, error))?;
    let unusable = |source| ServerTlsError::Unusable {
        certificate: name(certificate),
        key: name(key),
        source,
    };
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    fn pair(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let files = (directory.join("cert.pem"), directory.join("key.pem"));
        write(&files.0, made.cert.pem()).expect("a file");
        write(&files.1, made.signing_key.serialize_pem()).expect("a file");
        set_permissions(&files.1, Permissions::from_mode(0o600)).expect("a mode");
        files
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, key) = pair(directory.path(), "a.example");
        let tls = ServerTls::read(&certificate, &key).expect("TLS");
        let config = |tls: &ServerTls| Arc::clone(tls.acceptor().config());
        let first = config(&tls);
        write(&certificate, "half a file").expect("a file");
        tokio::time::advance(LOOK_INTERVAL).await;
        assert!(Arc::ptr_eq(&first, &config(&tls)), "the one before stays");
        pair(directory.path(), "b.example");
        tokio::time::advance(LOOK_INTERVAL / 2).await;
        assert!(Arc::ptr_eq(&first, &config(&tls)), "it is not looked at each time");
        tokio::time::advance(LOOK_INTERVAL / 2).await;
        assert!(!Arc::ptr_eq(&first, &config(&tls)));
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("missing.pem");
        let (certificate, key) = pair(directory.path(), "a.example");
        let error = |certificate: &Path, key: &Path| {
            ServerTls::read(certificate, key).expect_err("an error").to_string()
        };
        assert!(error(&missing, &key).contains("missing.pem"));
        assert!(error(&key, &key).contains("has no certificate"));
        set_permissions(&key, Permissions::from_mode(0o644)).expect("a mode");
        assert!(error(&certificate, &key).contains("chmod o="));
        let other = tempfile::tempdir().expect("a directory");
        let (_, other_key) = pair(other.path(), "b.example");
        assert!(error(&certificate, &other_key).contains("cannot be used with the key"));
    }
}
