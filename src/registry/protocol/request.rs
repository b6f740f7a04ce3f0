//! Requests and answers.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Semaphore;

use crate::core::docker::address_scope::AddressScope;

/// The body of a request that changes a registry.
pub(in crate::registry) enum RequestContent {
    /// A manifest, or nothing.
    Whole { media_type: HeaderValue, bytes: Bytes },
    /// A blob of this many bytes. It can be sent once.
    Stream { length: u64, body: Mutex<Option<Body>> },
}

/// A request. It has no `Debug`, because the form may contain an identity token.
pub(in crate::registry) struct HttpRequest {
    pub method: Method,
    /// Whether a manifest is requested, of any of the four types.
    pub wants_manifest: bool,
    pub authorization: Option<HeaderValue>,
    /// The login for another host that the registry redirects to: its origin, and the token from
    /// that host's own server.
    pub elsewhere: Option<(String, HeaderValue)>,
    pub form: Option<String>,
    pub content: Option<RequestContent>,
    pub range: Option<HeaderValue>,
    /// Whether the body of a good answer is left to the caller.
    pub is_stream: bool,
    /// The semaphore for a large body, if this host has one.
    pub large: Option<Arc<Semaphore>>,
    /// Largest body of a good answer, in bytes.
    pub limit: usize,
}

impl HttpRequest {
    /// A request without a login.
    pub fn new(method: Method, limit: usize) -> Self {
        Self {
            method,
            wants_manifest: false,
            authorization: None,
            elsewhere: None,
            form: None,
            content: None,
            range: None,
            is_stream: false,
            large: None,
            limit,
        }
    }
}

impl RequestContent {
    /// Puts it into a request.
    pub fn put_into(&self, builder: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Whole { media_type, bytes } => builder
                .header(CONTENT_TYPE, media_type)
                .header(CONTENT_LENGTH, bytes.len())
                .body(bytes.clone()),
            Self::Stream { length, body } => {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                builder
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, *length)
                    .body(body.unwrap_or_default())
            }
        }
    }
}

/// An answer. It has no `Debug`, because the body may be a token.
pub(in crate::registry) struct HttpResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body of an answer to a request with `is_stream`, not read yet.
    pub stream: Option<Response>,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The scope of that host.
    pub place: AddressScope,
}
