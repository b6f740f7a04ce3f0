//! The TLS configuration of one attempt to connect, from the files of the settings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::SecretString;

use crate::broker::settings::{BrokerLogin, BrokerSettings};
use crate::core::secret_file::exposed;

/// Largest file in bytes: a bundle of all public authorities has a quarter of it.
const FILE_MAX: u64 = 1024 * 1024;

/// Reads the files of the settings. It blocks for as long as the disk takes.
///
/// # Errors
/// What is wrong with a file.
pub(super) fn tls_config(settings: &BrokerSettings) -> Result<Arc<ClientConfig>, String> {
    let roots = match &settings.ca_file {
        Some(file) => own_roots(file)?,
        None => common_roots(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("mqtt.cert_file", certificate)?;
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(|error| {
                let (certificate, key) = (certificate.display(), key.display());
                match error {
                    rustls::Error::InconsistentKeys(_) => {
                        format!("{key} is not the key of {certificate}")
                    }
                    _ => format!("{certificate} and {key} cannot be used for TLS"),
                }
            })?
        }
    };
    // The configuration lives for one connection. And a resumed session would skip the broker's
    // look at the revocation list.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The password of a login, without the end of its line.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn password(login: &BrokerLogin) -> Result<Option<SecretString>, String> {
    let Some(file) = &login.password_file else { return Ok(None) };
    let bytes = read("mqtt.password_file", file)?;
    secret("mqtt.password_file", file)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("mqtt.password_file {} is not text", file.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).into()))
}

fn own_roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("mqtt.ca_file", file)? {
        roots.add(certificate).map_err(|_| {
            format!("mqtt.ca_file {} has a certificate that cannot be used", file.display())
        })?;
    }
    Ok(roots)
}

/// The bundled roots and those of the system: an image `FROM scratch` has no store.
fn common_roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let none = || format!("{key} {} holds no certificate", file.display());
    let bytes = read(key, file)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(none)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read("mqtt.key_file", file)?;
    secret("mqtt.key_file", file)?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| format!("mqtt.key_file {} holds no private key", file.display()))
}

fn secret(key: &str, file: &Path) -> Result<(), String> {
    let mode = fs::metadata(file).map(|it| it.permissions().mode()).unwrap_or_default();
    exposed(file, mode).map_or(Ok(()), |why| Err(format!("{key} is not secret: {why}")))
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| {
        format!("{key} {} cannot be read: {}", file.display(), error.kind())
    };
    let metadata = fs::metadata(file).map_err(failed)?;
    // Reading a pipe could wait without a limit.
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(format!("{key} {} is not a file of at most {FILE_MAX} bytes", file.display()));
    }
    fs::read(file).map_err(failed)
}
