//! The digest that a client declares for its archive.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::docker::reference::Digest;

/// RFC 9530, and one that a shell can write.
const CONTENT_DIGEST: &str = "content-digest";
const OWN_DIGEST: &str = "x-pilotfish-digest";

/// The SHA-256 of the body, if the client declares it.
///
/// # Errors
/// A header that is no digest: it would not be compared.
pub(super) fn declared_digest(headers: &HeaderMap) -> Result<Option<Digest>, PushRefusal> {
    let text = |name: &str| match headers.get(name) {
        None => Ok(None),
        Some(value) => value.to_str().map(Some).map_err(|_| wrong(name)),
    };
    let own = match text(OWN_DIGEST)? {
        Some(text) => Some(own_digest(text).ok_or_else(|| wrong(OWN_DIGEST))?),
        None => None,
    };
    let standard = match text(CONTENT_DIGEST)? {
        Some(text) => content_digest(text)?,
        None => None,
    };
    match (own, standard) {
        (Some(own), Some(standard)) if own != standard => {
            let detail = format!("{OWN_DIGEST} and {CONTENT_DIGEST} are not the same");
            Err(PushRefusal::new(RefusalWord::BadArchive, detail))
        }
        (own, standard) => Ok(own.or(standard)),
    }
}

fn wrong(name: &str) -> PushRefusal {
    let form = match name {
        OWN_DIGEST => "sha256:HEX, or HEX alone",
        _ => "sha-256=:BASE64:",
    };
    PushRefusal::new(RefusalWord::BadArchive, format!("the header {name} is no digest: {form}"))
}

fn own_digest(text: &str) -> Option<Digest> {
    let text = text.trim().to_ascii_lowercase();
    let hex = text.strip_prefix("sha256:").unwrap_or(&text);
    format!("sha256:{hex}").parse().ok()
}

/// A dictionary of structured fields (RFC 8941); other algorithms are ignored, as RFC 9530 says.
fn content_digest(text: &str) -> Result<Option<Digest>, PushRefusal> {
    let values = text.split(',').filter_map(|member| member.trim().split_once('='));
    let Some((_, value)) = values.into_iter().find(|(name, _)| *name == "sha-256") else {
        return Ok(None);
    };
    let bytes = value
        .strip_prefix(':')
        .and_then(|rest| rest.split_once(':'))
        .and_then(|(base64, _)| STANDARD.decode(base64).ok());
    let hex = bytes.filter(|bytes| bytes.len() == 32).map(|bytes| {
        use std::fmt::Write as _;
        bytes.iter().fold(String::from("sha256:"), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    });
    hex.and_then(|hex| hex.parse().ok()).map(Some).ok_or_else(|| wrong(CONTENT_DIGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(pairs: &[(&'static str, &str)]) -> Result<Option<String>, String> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        declared_digest(&headers.collect())
            .map(|digest| digest.map(|digest| digest.to_string()))
            .map_err(|error| error.to_string())
    }

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const BASE64: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

    #[test]
    fn both_headers_are_understood() {
        let expected = Ok(Some(format!("sha256:{HEX}")));
        let standard = format!("sha-256=:{BASE64}:");
        for pairs in [
            [("x-pilotfish-digest", HEX)].as_slice(),
            &[("x-pilotfish-digest", &format!("sha256:{}", HEX.to_uppercase()))],
            &[("content-digest", &standard)],
            &[("content-digest", &format!("sha-512=:abcd:, {standard}"))],
            &[("content-digest", &format!("{standard};q=1"))],
            &[("content-digest", &standard), ("x-pilotfish-digest", HEX)],
        ] {
            assert_eq!(declared(pairs), expected, "{pairs:?}");
        }
        assert_eq!(declared(&[]), Ok(None));
        assert_eq!(declared(&[("content-digest", "sha-512=:abcd:")]), Ok(None));
    }

    #[test]
    fn a_header_that_could_not_be_compared_is_refused() {
        let standard = format!("sha-256=:{BASE64}:");
        for pairs in [
            [("x-pilotfish-digest", "abc")].as_slice(),
            &[("x-pilotfish-digest", "md5:d41d8cd98f00b204e9800998ecf8427e")],
            &[("content-digest", "sha-256=abc")],
            &[("content-digest", "sha-256=:YWJj:")],
            &[("content-digest", &standard), ("x-pilotfish-digest", &HEX.replace('2', "3"))],
        ] {
            let error = declared(pairs).expect_err("an error");
            assert!(error.starts_with("bad_archive: "), "{error}");
        }
    }
}
