//! Which certificate of a server is valid: the same as for the Engine, with a sentence for each
//! refusal.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::registry::protocol::certificate_signature::is_issued_by;

/// Identifies a certificate: the SHA-256 of its bytes.
pub(in crate::registry) type Fingerprint = [u8; 32];

/// The fingerprint of a certificate.
pub(in crate::registry) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Sha256::digest(certificate.as_ref()).into()
}

/// Certificates that are trusted.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Trusted {
    pub roots: Arc<RootCertStore>,
    /// Certificates that a server may use as its own. Go, and so Docker, accepts a certificate that
    /// is trusted itself, even if it is marked as an authority (`x509.Verify`); the recipe in
    /// Docker's documentation (`openssl req -x509`) creates such a one.
    pub pinned: Arc<BTreeSet<Fingerprint>>,
    /// The authorities from the host's own files.
    pub authorities: Arc<Vec<CertificateDer<'static>>>,
}

/// Checks certificates as the Engine does.
#[derive(Debug)]
pub(in crate::registry) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Trusted,
}

impl Verifier {
    /// A verifier with this trust.
    pub fn new(trusted: &Trusted) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiServerVerifier::builder_with_provider(trusted.roots.clone(), provider);
        let webpki = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { webpki, trusted: trusted.clone() })
    }

    /// Whether only the chain is invalid, which a certificate that is trusted itself does not need;
    /// or whether it is only marked as an authority, which does not matter if another authority
    /// issued it. webpki reports both errors only after it has checked the validity period.
    fn stands_for_itself(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        let Error::InvalidCertificate(problem) = error else { return false };
        let is_authority = is_other(problem, AUTHORITY_AS_SERVER);
        if !is_authority && *problem != CertificateError::UnknownIssuer {
            return false;
        }
        let is_issued = || {
            self.trusted.authorities.iter().any(|authority| is_issued_by(certificate, authority))
        };
        self.trusted.pinned.contains(&fingerprint(certificate)) || (is_authority && is_issued())
    }
}

/// webpki's error for an authority's certificate that a server uses as its own.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";

fn is_other(problem: &CertificateError, name: &str) -> bool {
    matches!(problem, CertificateError::Other(other) if other.0.to_string() == name)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match checked {
            Err(error) if self.stands_for_itself(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Accepts every certificate: for the Engine's `insecure-registries`, as the Engine does. A
/// signature by an unproven certificate proves nothing either, so it is accepted too.
#[derive(Debug)]
pub(in crate::registry) struct AnyCertificate(Vec<SignatureScheme>);

impl Default for AnyCertificate {
    fn default() -> Self {
        Self(ring::default_provider().signature_verification_algorithms.supported_schemes())
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// What is wrong with a certificate, as the end of a sentence that begins with the certificate.
pub(in crate::registry) fn in_words(problem: &CertificateError) -> String {
    let text = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is this machine's clock right?"
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "names its host as a common name at most, which Docker does not take either: \
             make one with a subjectAltName (openssl req … -addext subjectAltName=DNS:HOST)"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::UnknownIssuer => "was issued by an unknown authority",
        CertificateError::Revoked => "was revoked",
        CertificateError::BadSignature => "has a wrong signature",
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not meant for a server"
        }
        problem if is_other(problem, AUTHORITY_AS_SERVER) => {
            "is that of an authority, and not trusted itself: put this very certificate into \
             certs.d, or give the server one that its authority issued"
        }
        problem if is_other(problem, "UnsupportedCertVersion") => {
            "is of an old kind (X.509 version 1) that cannot name its host in a subjectAltName: \
             make a new one"
        }
        CertificateError::Other(other) if other.0.to_string().contains("Signature") => {
            "has a kind of key or signature that is not known here: make one with RSA of 2048 bits \
             or more, P-256, P-384 or Ed25519"
        }
        other => return format!("is not accepted: {other}"),
    };
    text.to_owned()
}
