//! What a registry is asked for.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderValue;

use crate::core::docker::reference::{Digest, Reference};
use crate::registry::protocol::backoff::RequestKind;
use crate::registry::protocol::http::{CONFIGURATION_MAX, MANIFEST_MAX};
use crate::registry::protocol::request::{HttpRequest, RequestContent};

/// What a token must allow, in the words of token servers (distribution `spec/auth/scope`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct TokenScope {
    pub repository: String,
    /// `pull`, `pull,push`, `pull,delete`.
    actions: &'static str,
    /// The repository from which a blob is mounted.
    from: Option<String>,
}

impl TokenScope {
    /// To read a repository.
    pub fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), actions: "pull", from: None }
    }

    /// To write to a repository, and to look at what is there.
    pub fn push(repository: &str) -> Self {
        Self { actions: "pull,push", ..Self::pull(repository) }
    }

    /// To delete in a repository.
    pub fn delete(repository: &str) -> Self {
        Self { actions: "pull,delete", ..Self::pull(repository) }
    }

    /// The same, also to read the repository from which a blob is mounted.
    pub fn with_mount(self, from: Option<&str>) -> Self {
        Self { from: from.map(str::to_owned), ..self }
    }

    /// The scopes of the token, one for each repository.
    pub fn parts(&self) -> Vec<String> {
        let from = self.from.iter().map(|from| format!("repository:{from}:pull"));
        let own = format!("repository:{}:{}", self.repository, self.actions);
        std::iter::once(own).chain(from).collect()
    }
}

/// One question to a registry.
pub(in crate::registry) struct RegistryQuery {
    pub kind: RequestKind,
    pub scope: TokenScope,
    pub path: String,
    /// The requested item, for people: `shop/till:v1`.
    pub what: String,
    method: Method,
    wants_manifest: bool,
    range: Option<HeaderValue>,
    /// The media type and the bytes of what is sent.
    content: Option<(HeaderValue, Bytes)>,
    is_stream: bool,
}

impl RegistryQuery {
    /// The headers for a reference's tag.
    pub fn head(reference: &Reference) -> Self {
        Self { kind: RequestKind::Head, method: Method::HEAD, ..Self::tagged(reference) }
    }

    /// The content for a reference's tag.
    pub fn tagged(reference: &Reference) -> Self {
        let target = reference.tag_or_digest();
        let colon = if reference.tag.is_some() { ':' } else { '@' };
        let path = format!("/v2/{}/manifests/{target}", reference.repository);
        let what = format!("{}{colon}{target}", reference.repository);
        Self::new(Method::GET, TokenScope::pull(&reference.repository), path, what).for_manifest()
    }

    /// A manifest or an index by its digest.
    pub fn manifest(reference: &Reference, digest: &Digest) -> Self {
        Self::below(reference, digest, "manifests").for_manifest()
    }

    /// A configuration by its digest.
    pub fn blob(reference: &Reference, digest: &Digest) -> Self {
        Self::below(reference, digest, "blobs")
    }

    fn below(reference: &Reference, digest: &Digest, place: &str) -> Self {
        let path = format!("/v2/{}/{place}/{digest}", reference.repository);
        let what = format!("{}@{digest}", reference.repository);
        Self::new(Method::GET, TokenScope::pull(&reference.repository), path, what)
    }

    /// Any request.
    pub fn new(method: Method, scope: TokenScope, path: String, what: String) -> Self {
        Self {
            kind: if method == Method::HEAD { RequestKind::Head } else { RequestKind::Get },
            scope,
            path,
            what,
            method,
            wants_manifest: false,
            range: None,
            content: None,
            is_stream: false,
        }
    }

    /// The same, for a manifest of any type.
    pub fn for_manifest(self) -> Self {
        Self { wants_manifest: true, ..self }
    }

    /// The same for some bytes: `0-0` is the first one, `9-` all but nine.
    pub fn for_range(self, range: &str) -> Self {
        Self { range: HeaderValue::try_from(format!("bytes={range}")).ok(), ..self }
    }

    /// The same, whose answer is read by the caller.
    pub fn streamed(self) -> Self {
        Self { is_stream: true, ..self }
    }

    /// The same with content. A text that cannot be a media type is left out, and then the registry
    /// refuses the request.
    pub fn with_content(self, media_type: &str, bytes: Bytes) -> Self {
        let none = || HeaderValue::from_static("application/octet-stream");
        let media_type = HeaderValue::try_from(media_type).unwrap_or_else(|_| none());
        Self { content: Some((media_type, bytes)), ..self }
    }

    /// The request, with the login that is shown.
    pub fn request(&self, authorization: Option<HeaderValue>) -> HttpRequest {
        let limit = if self.wants_manifest { MANIFEST_MAX } else { CONFIGURATION_MAX };
        let content = self.content.clone();
        HttpRequest {
            wants_manifest: self.wants_manifest,
            authorization,
            range: self.range.clone(),
            content: content.map(|(media_type, bytes)| RequestContent::Whole { media_type, bytes }),
            is_stream: self.is_stream,
            ..HttpRequest::new(self.method.clone(), limit)
        }
    }
}
