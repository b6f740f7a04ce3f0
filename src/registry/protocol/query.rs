//! What a registry is asked for.

use reqwest::Method;
use reqwest::header::HeaderValue;

use crate::core::docker::reference::{Digest, Reference};
use crate::registry::protocol::backoff::RequestKind;
use crate::registry::protocol::http::{CONFIGURATION_MAX, HttpRequest, MANIFEST_MAX};

/// One question to a registry.
pub(in crate::registry) struct RegistryQuery {
    pub kind: RequestKind,
    pub repository: String,
    pub path: String,
    /// The requested item, for people: `shop/till:v1`.
    pub what: String,
    wants_manifest: bool,
}

impl RegistryQuery {
    /// The headers for a reference's tag.
    pub fn head(reference: &Reference) -> Self {
        Self { kind: RequestKind::Head, ..Self::tagged(reference) }
    }

    /// The content for a reference's tag.
    pub fn tagged(reference: &Reference) -> Self {
        let target = reference.tag_or_digest();
        let colon = if reference.tag.is_some() { ':' } else { '@' };
        Self {
            kind: RequestKind::Get,
            repository: reference.repository.clone(),
            path: format!("/v2/{}/manifests/{target}", reference.repository),
            what: format!("{}{colon}{target}", reference.repository),
            wants_manifest: true,
        }
    }

    /// A manifest or an index by its digest.
    pub fn manifest(reference: &Reference, digest: &Digest) -> Self {
        Self { wants_manifest: true, ..Self::content(reference, digest, "manifests") }
    }

    /// A configuration by its digest.
    pub fn blob(reference: &Reference, digest: &Digest) -> Self {
        Self::content(reference, digest, "blobs")
    }

    fn content(reference: &Reference, digest: &Digest, place: &str) -> Self {
        Self {
            kind: RequestKind::Get,
            repository: reference.repository.clone(),
            path: format!("/v2/{}/{place}/{digest}", reference.repository),
            what: format!("{}@{digest}", reference.repository),
            wants_manifest: false,
        }
    }

    /// The request, with the login that is shown.
    pub fn request(&self, authorization: Option<HeaderValue>) -> HttpRequest {
        let method = if self.kind == RequestKind::Head { Method::HEAD } else { Method::GET };
        let limit = if self.wants_manifest { MANIFEST_MAX } else { CONFIGURATION_MAX };
        let wants_manifest = self.wants_manifest;
        HttpRequest { wants_manifest, authorization, ..HttpRequest::new(method, limit) }
    }
}
