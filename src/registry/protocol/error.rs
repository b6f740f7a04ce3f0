//! All failures of a registry request, each with one reason and one sentence.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use rustls::AlertDescription;
use serde::Deserialize;

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::address_scope::AddressScope;
use crate::registry::protocol::dns::LeadsInside;
use crate::registry::protocol::retry_after::retry_after;
use crate::registry::protocol::verifier::in_words;

/// What is paused after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum FailureScope {
    /// The host: no connection succeeded.
    Host,
    /// The host, if it happens again: too many requests, time-outs, an overloaded proxy.
    Load,
    /// The requested item, and nothing else of this host.
    Response,
    /// Nothing: a clear answer, which costs the registry nothing.
    Nobody,
}

/// A failed lookup, and what it pauses.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Failure {
    pub error: LookupError,
    pub blame: FailureScope,
}

impl Failure {
    /// A failure with this reason and sentence.
    pub fn new(reason: Reason, blame: FailureScope, detail: impl Into<String>) -> Self {
        Self { error: LookupError::new(reason, detail), blame }
    }

    /// The registry answered, and the answer makes no sense.
    pub fn nonsense(detail: impl Into<String>) -> Self {
        Self::new(Reason::RegistryError, FailureScope::Response, detail)
    }

    /// The registry wants a login, or another one.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(Reason::RegistryUnauthorized, FailureScope::Nobody, detail)
    }
}

/// One request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum ExchangeError {
    /// The other side does not speak TLS. Plain HTTP may follow if it is allowed.
    #[error("{host} does not speak TLS; if this is intended, set plain_http = true for it")]
    NotTls { host: String },
    /// The handshake was aborted. Plain servers do this, and broken ones too.
    #[error("{host} broke the TLS handshake off")]
    HandshakeCut { host: String },
    #[error("the certificate of {host} {problem}")]
    Certificate { host: String, problem: String },
    #[error("{host} refuses our client certificate ({alert})")]
    ClientCertificate { host: String, alert: String },
    #[error("TLS with {host} failed: {problem}")]
    Tls { host: String, problem: String },
    #[error("{0}")]
    Setup(String),
    #[error("{host} cannot be reached: {problem}")]
    Connect { host: String, problem: String },
    #[error("{host} did not answer within {} s", .after.as_secs_f32())]
    Timeout { host: String, after: Duration },
    #[error("{host} broke the connection off")]
    Cut { host: String },
    #[error("{host} answered with something that is not HTTP")]
    NotHttp { host: String },
    #[error("{host} sent more than the {limit} such an answer may have")]
    TooLarge { host: String, limit: String },
    #[error("{host} sent a redirect that is not followed: {problem}")]
    Redirect { host: String, problem: String },
    /// A registry redirected to an address that only this machine or its network can reach.
    #[error(
        "{host} was named by its registry and is {}; a registry on another network may not \
         redirect there; if this is intended, write [registries.\"{host}\"]",
        .there.in_words()
    )]
    Inside { host: String, there: AddressScope },
    /// A host that spoke TLS before does not speak it now, and the request would send a login.
    #[error(
        "{host} spoke TLS before and does not now, so no login is sent to it; if this is intended, \
         take it out of `tls_hosts` in memory.json of the state directory while the agent is stopped"
    )]
    InClear { host: String },
}

impl ExchangeError {
    /// Converts an error of the HTTP client. Its own text is not used, because it contains the URL,
    /// and the URL of a redirect contains a signature.
    pub fn of(error: &reqwest::Error, host: &str, connect_timeout: Duration) -> Self {
        let host = host.to_owned();
        if let Some(tls) = find_cause::<rustls::Error>(error) {
            return Self::of_tls(tls, host);
        }
        if let Some(LeadsInside(there)) = find_cause(error) {
            return Self::Inside { host, there: *there };
        }
        // The deepest one: a connector wraps the socket's errors into its own.
        let input = chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last();
        let input = input.map(io::Error::kind);
        if error.is_timeout() || input == Some(io::ErrorKind::TimedOut) {
            return Self::Timeout { host, after: connect_timeout };
        }
        match (error.is_connect(), input) {
            (true, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)) => {
                Self::HandshakeCut { host }
            }
            (true, _) => Self::Connect { host, problem: last_cause(error) },
            (false, None) if chain(error).any(is_parse_error) => Self::NotHttp { host },
            (false, _) => Self::Cut { host },
        }
    }

    fn of_tls(error: &rustls::Error, host: String) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => {
                Self::Certificate { host, problem: in_words(problem) }
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls { host },
            rustls::Error::AlertReceived(alert) if concerns_certificate(*alert) => {
                Self::ClientCertificate { host, alert: format!("{alert:?}") }
            }
            other => Self::Tls { host, problem: other.to_string() },
        }
    }

    /// Whether reading the certificates from disk again may help.
    pub fn concerns_trust(&self) -> bool {
        matches!(self, Self::Certificate { .. } | Self::ClientCertificate { .. } | Self::Tls { .. })
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Certificate { .. } | Self::ClientCertificate { .. } | Self::Setup(_) => {
                Reason::RegistryCertificate
            }
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Cut { .. }
            | Self::HandshakeCut { .. } => Reason::RegistryUnreachable,
            Self::NotTls { .. }
            | Self::Tls { .. }
            | Self::NotHttp { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::Inside { .. } => Reason::RegistryError,
            Self::InClear { .. } => Reason::RegistryUnauthorized,
        }
    }

    fn blame(&self) -> FailureScope {
        match self {
            Self::NotTls { .. }
            | Self::HandshakeCut { .. }
            | Self::Certificate { .. }
            | Self::ClientCertificate { .. }
            | Self::Tls { .. }
            | Self::Setup(_)
            | Self::Connect { .. } => FailureScope::Host,
            Self::Timeout { .. } | Self::Cut { .. } => FailureScope::Load,
            Self::NotHttp { .. }
            | Self::TooLarge { .. }
            | Self::Redirect { .. }
            | Self::Inside { .. } => FailureScope::Response,
            Self::InClear { .. } => FailureScope::Nobody,
        }
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        Self::new(error.reason(), error.blame(), error.to_string())
    }
}

/// The failure for a status other than 2xx, with the code in the body.
pub(in crate::registry) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    host: &str,
    asked: &str,
) -> Failure {
    let code = error_code(body);
    let (reason, blame) = judge(status, code);
    let code = code.map_or_else(String::new, |code| format!(" ({code})"));
    let detail = format!("{host} answered {}{code} when asked for {asked}", status.as_u16());
    let mut failure = Failure::new(reason, blame, detail);
    failure.error.retry_after = retry_after(headers);
    failure
}

fn judge(status: StatusCode, code: Option<&str>) -> (Reason, FailureScope) {
    match (status.as_u16(), code) {
        (429, _) | (_, Some("TOOMANYREQUESTS")) => (Reason::RateLimited, FailureScope::Load),
        (401 | 403, _) => (Reason::RegistryUnauthorized, FailureScope::Nobody),
        (404, _) | (400..=499, Some("MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "BLOB_UNKNOWN")) => {
            (Reason::NotFound, FailureScope::Nobody)
        }
        (400..=499, Some("UNAUTHORIZED" | "DENIED")) => {
            (Reason::RegistryUnauthorized, FailureScope::Nobody)
        }
        (503, _) => (Reason::RegistryError, FailureScope::Load),
        _ => (Reason::RegistryError, FailureScope::Response),
    }
}

/// The first code of a registry's error document, if the OCI distribution specification knows it.
/// The message beside it is foreign text and never shown.
pub(in crate::registry) fn error_code(body: &[u8]) -> Option<&'static str> {
    const KNOWN: [&str; 14] = [
        "MANIFEST_UNKNOWN",
        "NAME_UNKNOWN",
        "BLOB_UNKNOWN",
        "NAME_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "SIZE_INVALID",
    ];
    #[derive(Deserialize)]
    struct ErrorBody {
        errors: Vec<ErrorEntry>,
    }
    #[derive(Deserialize)]
    struct ErrorEntry {
        code: String,
    }
    let document: ErrorBody = serde_json::from_slice(body).ok()?;
    let first = document.errors.first()?;
    KNOWN.into_iter().find(|known| *known == first.code)
}

/// Whether a server's alert is about the client certificate, sent or missing.
fn concerns_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

fn chain<'error>(
    error: &'error (dyn Error + 'static),
) -> impl Iterator<Item = &'error (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

/// The next cause. An `io::Error` hides its source behind `get_ref`.
fn inner<'error>(error: &'error (dyn Error + 'static)) -> Option<&'error (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn find_cause<'error, T: Error + 'static>(
    error: &'error (dyn Error + 'static),
) -> Option<&'error T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

fn last_cause(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}

/// The HTTP library has no type for unreadable content; its text says it.
fn is_parse_error(cause: &(dyn Error + 'static)) -> bool {
    let text = cause.to_string();
    text.starts_with("invalid HTTP") || text.contains("message head is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_one_reason() {
        let table = [
            (401, "", Reason::RegistryUnauthorized),
            (403, "", Reason::RegistryUnauthorized),
            (404, "", Reason::NotFound),
            (400, "NAME_UNKNOWN", Reason::NotFound),
            (400, "MANIFEST_UNKNOWN", Reason::NotFound),
            (400, "DENIED", Reason::RegistryUnauthorized),
            (400, "", Reason::RegistryError),
            (418, "TOOMANYREQUESTS", Reason::RateLimited),
            (429, "", Reason::RateLimited),
            (500, "", Reason::RegistryError),
            (503, "", Reason::RegistryError),
            (204, "", Reason::RegistryError),
        ];
        for (status, code, expected) in table {
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"a secret"}}]}}"#);
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = refusal(status, &HeaderMap::new(), body.as_bytes(), "r:1", "a/b:c");
            assert_eq!(failure.error.reason, expected, "{status} {code}");
            assert!(!failure.error.detail.contains("secret"));
        }
    }

    #[test]
    fn the_sentence_says_who_and_what() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
        let failure = refusal(StatusCode::NOT_FOUND, &HeaderMap::new(), body, "r:1", "a/b:c");
        let expected = "r:1 answered 404 (MANIFEST_UNKNOWN) when asked for a/b:c";
        assert_eq!(failure.error.to_string(), expected);
    }
}
