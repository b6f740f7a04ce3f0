//! The secret of a sender, and the ways to prove that a request comes from this sender. There are
//! several ways, because no way is available to every sender.

use std::cell::LazyCell;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use super::senders::WebhookRequest;
use crate::core::docker::webhook::{SenderKind, SignatureForm, signature_headers};
use crate::core::secret_file::exposed;

/// Shortest secret in bytes: a secret that a person invented is shorter.
const SECRET_BYTES_MIN: usize = 16;

/// The marker before a secret of Standard Webhooks; base64 follows (standardwebhooks.com,
/// "Secrets").
const STANDARD_MARKER: &str = "whsec_";

/// How far the time in a signed webhook may be from this machine's time (the tolerance of the
/// libraries of Standard Webhooks).
const SIGNED_TIME_SLACK: TimeDelta = TimeDelta::minutes(5);

/// The earliest sane time in seconds: the beginning of 2026, before the first release. A Pi without
/// a clock starts in 1970 or in the past; then the time in a webhook is not compared.
const CLOCK_SANE_MIN: i64 = 1_767_225_600;

/// The secret.
#[derive(Debug)]
pub(super) struct WebhookSecret(SecretString);

/// Why there is no valid secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {key} {file}")]
    Unreadable {
        /// The key of the configuration.
        key: String,
        file: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Other users can read the file.
    #[error("the file of {key} is not secret: {why}")]
    Exposed { key: String, why: String },
    /// It is too easy to guess.
    #[error(
        "the secret in {file} is shorter than {SECRET_BYTES_MIN} characters: make one with \
         `openssl rand -hex 32`"
    )]
    Short { file: String },
    /// Standard Webhooks' marker without base64 behind it.
    #[error("the secret in {file} begins with `whsec_`, but what follows is not base64")]
    NotBase64 { file: String },
}

/// What a request proves. The better one counts, because each right proof needs the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    Missing,
    Wrong,
    /// The signature is right, but its time is not now.
    Stale,
    Right,
}

impl WebhookSecret {
    /// Reads the first line of a file.
    pub(super) fn read(key: &str, file: &Path) -> Result<Self, SecretError> {
        let name = || file.display().to_string();
        let unreadable =
            |source| SecretError::Unreadable { key: key.to_owned(), file: name(), source };
        let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
        if let Some(why) = exposed(file, mode) {
            return Err(SecretError::Exposed { key: key.to_owned(), why });
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let secret = text.lines().next().unwrap_or_default().trim();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(SecretError::Short { file: name() });
        }
        let marked = secret.strip_prefix(STANDARD_MARKER);
        if marked.is_some_and(|base64| STANDARD.decode(base64).is_err()) {
            return Err(SecretError::NotBase64 { file: name() });
        }
        Ok(Self(secret.into()))
    }

    #[cfg(test)]
    pub(super) fn of(secret: &str) -> Self {
        Self(secret.into())
    }

    /// Whether both are the same secret.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.is_shown(other.0.expose_secret())
    }

    fn is_shown(&self, shown: &str) -> bool {
        same(shown.as_bytes(), self.0.expose_secret().as_bytes())
    }

    /// What a request proves: in `Authorization`, as CNCF registries and Harbor can send it; as
    /// `?token=`, because Docker Hub and Quay accept only a URL; or in a header of its sender.
    pub(super) fn proof(
        &self,
        kind: SenderKind,
        request: WebhookRequest<'_>,
        now: DateTime<Utc>,
    ) -> Proof {
        let verdict = |is_right: bool| if is_right { Proof::Right } else { Proof::Wrong };
        let authorization = request.header(header::AUTHORIZATION.as_str()).map(|value| {
            let bearer = value.split_once(' ');
            let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            // Harbor sends what a person entered, which may be the bare secret.
            verdict(self.is_shown(bearer.map_or(value, |(_, token)| token.trim())))
        });
        let query = request.uri.query().unwrap_or_default().split('&');
        let in_query = query.filter_map(|part| part.strip_prefix("token=")).next();
        let in_query = in_query.map(|token| verdict(self.is_shown(token)));
        // One HMAC of the body for all headers: any client may send a large body and many
        // signatures.
        let tag = LazyCell::new(|| hmac_of(self.0.expose_secret().as_bytes(), request.body));
        let is_of_body = |hex: &str| bytes_of(hex).is_some_and(|shown| same(&shown, tag.as_ref()));
        let signed = signature_headers(kind).into_iter().filter_map(|signature| {
            let value = request.header(signature.header)?;
            let is_right = match signature.form {
                SignatureForm::Secret => self.is_shown(value),
                SignatureForm::Hex => is_of_body(value),
                // GitHub and Gitea send `sha1=` in the header that Bitbucket uses.
                SignatureForm::PrefixedHex => is_of_body(value.strip_prefix("sha256=")?),
                SignatureForm::Versions => {
                    let versions = value.split(',').map(str::trim);
                    let versions = versions.filter_map(|part| part.strip_prefix("v1="));
                    versions.take(SIGNATURES_MAX).any(is_of_body)
                }
                SignatureForm::Standard => return Some(self.standard(value, request, now)),
            };
            Some(verdict(is_right))
        });
        signed.chain(authorization).chain(in_query).max().unwrap_or(Proof::Missing)
    }

    fn standard(&self, value: &str, request: WebhookRequest<'_>, now: DateTime<Utc>) -> Proof {
        let (Some(id), Some(time)) =
            (request.header("webhook-id"), request.header("webhook-timestamp"))
        else {
            return Proof::Wrong;
        };
        let secret = self.0.expose_secret();
        let decoded = secret.strip_prefix(STANDARD_MARKER).and_then(|it| STANDARD.decode(it).ok());
        let key = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", request.body].concat();
        let signatures = value.split(' ').filter_map(|part| part.strip_prefix("v1,"));
        let mut tags = signatures.take(SIGNATURES_MAX).filter_map(|it| STANDARD.decode(it).ok());
        let right = hmac_of(&key, &signed);
        if !tags.any(|tag| same(&tag, right.as_ref())) {
            return Proof::Wrong;
        }
        match time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)) {
            Some(time) if is_fresh(time, now) => Proof::Right,
            _ => Proof::Stale,
        }
    }
}

/// Most signatures in one header that are compared: a sender that changes its secret sends two.
const SIGNATURES_MAX: usize = 4;

/// Whether the time in a webhook is now, as far as this machine knows the time.
fn is_fresh(time: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.timestamp() < CLOCK_SANE_MIN || now.signed_duration_since(time).abs() <= SIGNED_TIME_SLACK
}

/// HMAC-SHA256 (RFC 2104).
fn hmac_of(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

/// Compares two secrets or two signatures in constant time: ring compares their HMACs
/// (`ring::hmac::verify`), so the time tells neither the first difference nor the length.
fn same(one: &[u8], other: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, other);
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

/// The bytes of a hexadecimal text.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok()).collect()
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
