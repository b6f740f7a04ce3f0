//! Why there is no connection, in words for an operator. No secret and no text of the broker is
//! part of them.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::broker::reason_code::ReasonCode;
use crate::broker::reconnect::Pace;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Loss {
    /// The name of the broker leads to no address.
    #[error("the name {host} is not found: check mqtt.url, and the DNS server of this machine")]
    NameNotFound { host: String },
    /// No program accepts connections there.
    #[error("no broker answers at {address} ({why})")]
    Unreachable { address: String, why: io::ErrorKind },
    /// TCP, TLS and CONNACK took too long.
    #[error("{address} is not a ready broker within {} s", .within.as_secs())]
    Slow { address: String, within: Duration },
    /// A file of the settings cannot be used.
    #[error("{0}")]
    File(String),
    /// The broker's certificate is not accepted.
    #[error("the certificate of {address} {}", .problem.in_words())]
    BrokerCertificate { address: String, problem: CertificateProblem },
    /// The broker does not accept the certificate of this device.
    #[error("the broker {}", .0.in_words())]
    OwnCertificate(CertificateRefusal),
    /// TLS failed in another way.
    #[error("TLS with the broker fails: {0}")]
    Tls(String),
    /// The broker refused CONNECT.
    #[error("the broker refuses the connection: {reason}{}", advice(*.reason))]
    Refused { reason: ReasonCode },
    /// The broker ended the connection with a reason.
    #[error("the broker ended the connection: {reason}{}", advice(*.reason))]
    Ended { reason: ReasonCode },
    /// The connection was closed before CONNACK.
    #[error("the broker closed the connection before it accepted this device; its log says why")]
    ClosedEarly,
    /// The connection was closed without a reason.
    #[error("the broker closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection to the broker broke ({0})")]
    Broken(io::ErrorKind),
    /// No answer in time.
    #[error("the broker does not answer any more")]
    Silent,
    /// It speaks an older version of MQTT.
    #[error("the broker does not speak MQTT 5; Mosquitto does since 1.6")]
    OldProtocol,
    /// A packet was larger than this client accepts.
    #[error("the broker sent a packet larger than {limit} bytes")]
    PacketTooLarge { limit: u32 },
    /// What arrived is not MQTT 5.
    #[error("the broker sent what is not MQTT 5: {0}")]
    Malformed(&'static str),
    /// It lacks something that this client needs.
    #[error("the broker cannot be used: {0}")]
    Unfit(&'static str),
}

/// What is wrong with the broker's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateProblem {
    UnknownIssuer,
    OtherName,
    Expired,
    NotYetValid,
    Revoked,
    Invalid,
}

/// Why a broker refuses the certificate of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateRefusal {
    Missing,
    Revoked,
    Expired,
    UnknownIssuer,
    Other,
}

impl CertificateProblem {
    fn in_words(self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "is signed by an authority that is not trusted: check mqtt.ca_file"
            }
            Self::OtherName => {
                "is for another name: its subjectAltName must hold the host of mqtt.url"
            }
            Self::Expired => "has expired, or the clock of this device is wrong",
            Self::NotYetValid => "is not valid yet, or the clock of this device is wrong",
            Self::Revoked => "is revoked",
            Self::Invalid => "is not valid",
        }
    }
}

impl CertificateRefusal {
    fn in_words(self) -> &'static str {
        match self {
            Self::Missing => "wants a certificate: set mqtt.cert_file and mqtt.key_file",
            Self::Revoked => "says that the certificate of this device is revoked",
            // OpenSSL sends the same alert for a CRL past its nextUpdate.
            Self::Expired => {
                "says \"expired\": either the certificate of this device has expired, or the \
                 revocation list (CRL) of the broker"
            }
            Self::UnknownIssuer => "does not know the authority of this device's certificate",
            Self::Other => "refuses the certificate of this device",
        }
    }
}

/// What is said about a broker that does not accept this client.
const NEXT_ATTEMPT: &str = "; the next attempt is in an hour";

/// What an operator can do about a reason code.
fn advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::BAD_LOGIN | ReasonCode::NOT_AUTHORIZED | ReasonCode::BANNED => {
            "; check user, password and the grants of this device; the next attempt is in an hour"
        }
        ReasonCode::BAD_METHOD => "; the next attempt is in an hour",
        ReasonCode::TAKEN_OVER => ": another client uses the same client ID",
        ReasonCode::ANOTHER_SERVER | ReasonCode::MOVED => {
            ", which Pilotfish does not follow: set mqtt.url"
        }
        _ => "",
    }
}

impl Loss {
    /// The cause, for a client that does not try again.
    #[must_use]
    pub fn cause(&self) -> String {
        self.to_string().trim_end_matches(NEXT_ATTEMPT).to_owned()
    }

    /// How soon the next attempt may come.
    pub(super) fn pace(&self) -> Pace {
        match self {
            Self::Refused { reason } | Self::Ended { reason } => Pace::after(*reason),
            _ => Pace::Growing,
        }
    }

    /// An error of an open connection.
    pub(super) fn of_stream(error: &io::Error, address: &str) -> Self {
        if let Some(error) = tls_error(error) {
            return Self::of_tls(error, address);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            kind => Self::Broken(kind),
        }
    }

    /// An error of TLS. Its text may hold names from the certificate, so most have words of their
    /// own.
    fn of_tls(error: &rustls::Error, address: &str) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => {
                Self::BrokerCertificate { address: address.to_owned(), problem: problem(error) }
            }
            rustls::Error::AlertReceived(alert) => refusal(*alert)
                .map_or_else(|| Self::Tls(format!("alert {alert:?}")), Self::OwnCertificate),
            rustls::Error::InvalidMessage(_) => Self::Tls(
                "the answer is not TLS; a port without TLS needs mqtt:// in mqtt.url".to_owned(),
            ),
            rustls::Error::PeerIncompatible(_) => {
                Self::Tls("the broker speaks no TLS 1.2 or 1.3".to_owned())
            }
            _ => Self::Tls("the handshake failed".to_owned()),
        }
    }

    /// Whether it comes from TLS, so that it says more than a broken connection.
    pub(super) fn is_of_tls(&self) -> bool {
        matches!(self, Self::BrokerCertificate { .. } | Self::OwnCertificate(_) | Self::Tls(_))
    }
}

/// The TLS error inside an error of a connection.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner: &(dyn Error + 'static) = error.get_ref()?;
    inner.downcast_ref()
}

fn problem(error: &CertificateError) -> CertificateProblem {
    match error {
        // Two authorities of one name: only the signature tells them apart.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateProblem::UnknownIssuer
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::OtherName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        CertificateError::Revoked => CertificateProblem::Revoked,
        _ => CertificateProblem::Invalid,
    }
}

/// What an alert says about the certificate of this device (RFC 8446, 6.2). TLS 1.2 has no alert
/// for a missing certificate: OpenSSL then sends `handshake_failure`.
fn refusal(alert: AlertDescription) -> Option<CertificateRefusal> {
    Some(match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::HandshakeFailure => CertificateRefusal::Missing,
        AlertDescription::CertificateRevoked => CertificateRefusal::Revoked,
        AlertDescription::CertificateExpired => CertificateRefusal::Expired,
        AlertDescription::UnknownCA => CertificateRefusal::UnknownIssuer,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => CertificateRefusal::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_plain_words() {
        let tls =
            |error| Loss::of_stream(&io::Error::new(io::ErrorKind::InvalidData, error), "b:1");
        let name = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        assert_eq!(
            tls(name).to_string(),
            "the certificate of b:1 is for another name: its subjectAltName must hold the host of \
             mqtt.url"
        );
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRevoked);
        let revoked = tls(alert);
        let words = "the broker says that the certificate of this device is revoked";
        assert_eq!(revoked.to_string(), words);
        assert!(revoked.is_of_tls());
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(Loss::of_stream(&reset, "b:1"), Loss::Closed);
        let refused = Loss::Refused { reason: ReasonCode::NOT_AUTHORIZED };
        assert_eq!(
            refused.to_string(),
            "the broker refuses the connection: not authorized (135); check user, password and the \
             grants of this device; the next attempt is in an hour"
        );
        assert!(refused.cause().ends_with("and the grants of this device"), "{refused:?}");
        assert_eq!(refused.pace(), Pace::Hourly);
        let taken = Loss::Ended { reason: ReasonCode::TAKEN_OVER }.to_string();
        let words = "session taken over (142): another client uses the same client ID";
        assert!(taken.ends_with(words), "{taken}");
    }
}
