//! The token of the webhook address. There are three ways to send it, because no way is available
//! to every sender.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::http::{HeaderMap, Uri, header};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::core::secret_file::exposed;

/// Shortest token in bytes: a token that a person invented is shorter.
const TOKEN_BYTES_MIN: usize = 16;

/// GitHub's signature header (docs.github.com, "Validating webhook deliveries").
const SIGNATURE: &str = "x-hub-signature-256";

/// The token.
#[derive(Debug)]
pub struct WebhookToken(SecretString);

/// Why there is no valid token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read webhook.token_file {file}")]
    Unreadable {
        file: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Other users can read the file.
    #[error("the token file is not secret: {0}")]
    Exposed(String),
    /// It is too easy to guess.
    #[error(
        "the token in {file} is shorter than {TOKEN_BYTES_MIN} characters: make one with \
         `openssl rand -hex 32`"
    )]
    Short { file: String },
}

impl WebhookToken {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// It cannot be read, or its token is easy to guess.
    pub fn read(file: &Path) -> Result<Self, TokenError> {
        let name = || file.display().to_string();
        let unreadable = |source| TokenError::Unreadable { file: name(), source };
        let mode = std::fs::metadata(file).map_err(unreadable)?.permissions().mode();
        if let Some(why) = exposed(file, mode) {
            return Err(TokenError::Exposed(why));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < TOKEN_BYTES_MIN {
            return Err(TokenError::Short { file: name() });
        }
        Ok(Self(token.into()))
    }

    /// Whether a request has the token: in `Authorization`, as CNCF registries can send it; as
    /// `?token=`, because Docker Hub accepts only a URL; or by a signature, as GitHub sends it.
    pub(super) fn opens(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = header(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let query = uri.query().unwrap_or_default().split('&');
        let in_query = query.filter_map(|part| part.strip_prefix("token=")).next();
        let shown = bearer.map(|(_, token)| token.trim()).or(in_query);
        if let Some(shown) = shown {
            return same(shown.as_bytes(), self.0.expose_secret().as_bytes());
        }
        let signature = header(SIGNATURE).and_then(|value| value.strip_prefix("sha256="));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_secret().as_bytes());
        // In constant time (RFC 2104, by ring).
        let is_signed = |signature: Vec<u8>| hmac::verify(&key, body, &signature).is_ok();
        signature.and_then(bytes_of).is_some_and(is_signed)
    }
}

/// Compares without a timing leak of the first difference: it compares all bytes of digests, which
/// an attacker cannot choose.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    one.iter().zip(&other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
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
mod tests {
    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";

    fn opens(uri: &str, headers: &[(&'static str, &str)], body: &str) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        WebhookToken(SECRET.into()).opens(&uri.parse().expect("a URI"), &map, body.as_bytes())
    }

    #[test]
    fn a_token_is_shown_in_one_of_three_ways() {
        let bearer = format!("bearer {SECRET}");
        assert!(opens("/", &[("authorization", &bearer)], ""));
        assert!(!opens("/", &[("authorization", "Bearer x")], ""));
        assert!(!opens("/", &[("authorization", &format!("Basic {SECRET}"))], ""));
        assert!(!opens("/?token=x", &[], ""));
        assert!(!opens("/?token=", &[], ""));
        assert!(!opens("/", &[], ""));
        let token = WebhookToken("0123456789abcdef".into());
        let uri = "/v1/webhook?a=b&token=0123456789abcdef".parse().expect("a URI");
        assert!(token.opens(&uri, &HeaderMap::new(), b""));
    }

    /// The example of GitHub's documentation.
    #[test]
    fn githubs_signature_is_that_of_the_body() {
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(opens("/", &[(SIGNATURE, signature)], "Hello, World!"));
        assert!(!opens("/", &[(SIGNATURE, signature)], "Hello, World?"));
        assert!(!opens("/", &[(SIGNATURE, "sha256=")], "Hello, World!"));
    }

    #[test]
    fn only_whole_bytes_are_a_signature() {
        assert_eq!(bytes_of("00ff7A"), Some(vec![0, 255, 0x7a]));
        for wrong in ["0", "0g", "+1", "ü", "0 "] {
            assert_eq!(bytes_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused_and_never_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        assert!(matches!(WebhookToken::read(&file), Err(TokenError::Unreadable { .. })));
        std::fs::write(&file, "0123456789abcdef\n").expect("a file");
        let open = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        open(0o644);
        let error = WebhookToken::read(&file).expect_err("everybody can read it").to_string();
        assert!(error.contains("chmod o=") && !error.contains("0123"), "{error}");
        open(0o600);
        std::fs::write(&file, "hunter2\n").expect("a file");
        let error = WebhookToken::read(&file).expect_err("too short").to_string();
        assert!(!error.contains("hunter2"), "{error}");
        std::fs::write(&file, "0123456789abcdef\n").expect("a file");
        let token = WebhookToken::read(&file).expect("a token");
        assert!(!format!("{token:?}").contains("0123"));
    }
}
