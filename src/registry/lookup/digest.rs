//! The digest that a tag points at, by a `HEAD`, or by a `GET` if a host does not answer that.

use reqwest::StatusCode;

use crate::core::decide::offer::LookupError;
use crate::core::docker::manifest::parse_document;
use crate::core::docker::reference::{Digest, Reference};
use crate::registry::lookup::resolution::{check_content_type, has_manifest_type};
use crate::registry::protocol::error::Failure;
use crate::registry::protocol::query::RegistryQuery;
use crate::registry::protocol::request::HttpResponse;
use crate::registry::protocol::session::Session;

/// Header with the digest of the answer's content.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a 404 to a `HEAD` means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Missing {
    /// Possibly only a `GET` works.
    AskAgain,
    /// A mirror does not have the image.
    IsClear,
}

/// The digest that a reference's tag points at on one host.
pub(in crate::registry) async fn head(
    session: &Session,
    reference: &Reference,
    missing: Missing,
) -> Result<Digest, LookupError> {
    let tagged = RegistryQuery::tagged(reference);
    if let Some(held) = session.held_get(&tagged) {
        return Err(held);
    }
    let ask = RegistryQuery::head(reference);
    let read = |answer: HttpResponse| {
        let is_clear = answer.status == StatusCode::NOT_FOUND && missing == Missing::IsClear;
        if is_clear || means_to_wait(answer.status) {
            return session.accept(&ask, answer).map(|_| None);
        }
        Ok(named_digest(&answer))
    };
    if let Some(digest) = session.ask(&ask, read).await? {
        return Ok(digest);
    }
    session.ask(&tagged, |answer| own_digest(session, &tagged, answer)).await
}

/// The digest in the answer to a `HEAD`. `None` if the answer has none, or if this host does not
/// answer a `HEAD` properly: then a `GET` is sent, which is all that the Engine uses. Some
/// registries and proxies answer 400, 403, 404, 405 or a web page only to a `HEAD`. On Docker Hub a
/// `GET` counts as a pull only if it succeeds, and there a `HEAD` succeeds first.
fn named_digest(answer: &HttpResponse) -> Option<Digest> {
    let is_good = answer.status == StatusCode::OK && has_manifest_type(answer);
    let named = answer.headers.get(CONTENT_DIGEST).filter(|_| is_good)?;
    named.to_str().ok()?.parse().ok()
}

/// Whether the registry is overloaded or wants a login: then no second request is sent.
const fn means_to_wait(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 429 | 502..=504)
}

/// The digest of the body of a `GET`, if it is a manifest.
fn own_digest(
    session: &Session,
    ask: &RegistryQuery,
    answer: HttpResponse,
) -> Result<Digest, Failure> {
    let answer = session.accept(ask, answer)?;
    check_content_type(session, ask, &answer)?;
    let host = &session.endpoint.host;
    parse_document(&answer.body).map_err(|error| {
        Failure::nonsense(format!("the answer of {host} for {} is unusable: {error}", ask.what))
    })?;
    Ok(Digest::of(&answer.body))
}
