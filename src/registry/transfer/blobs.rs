//! Whether a blob is at a target, and the begin of its upload.

use bytes::Bytes;
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use crate::core::mirror::manifest_tree::BlobDescriptor;
use crate::core::mirror::refusal::CopyError;
use crate::registry::protocol::query::{RegistryQuery, TokenScope};
use crate::registry::protocol::request::HttpResponse;
use crate::registry::transfer::manifests::At;
use crate::registry::transfer::refusal::{failed, of_target};
use crate::registry::transfer::{OpenUpload, UploadStart};

impl At<'_> {
    fn blob_query(&self, method: Method, blob: &BlobDescriptor) -> RegistryQuery {
        let path = format!("/v2/{}/blobs/{}", self.repository, blob.digest);
        let what = format!("{}@{}", self.repository, blob.digest);
        RegistryQuery::new(method, TokenScope::push(self.repository), path, what)
    }

    /// Whether the blob is there: the registry says so, and shows the first byte of it.
    pub async fn has_blob(&self, blob: &BlobDescriptor) -> Result<bool, CopyError> {
        let ask = self.blob_query(Method::HEAD, blob);
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(false),
            StatusCode::OK if blob.size == 0 => return Ok(true),
            StatusCode::OK => {}
            _ => return Err(of_target(self.session, &ask.what, answer)),
        }
        let ask = self.blob_query(Method::GET, blob).for_range("0-0").streamed();
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status.as_u16() {
            200 | 206 => Ok(self.shows_a_byte(answer).await),
            404 | 416 => Ok(false),
            _ => Err(of_target(self.session, &ask.what, answer)),
        }
    }

    /// A registry whose blob is gone breaks the connection off before the first byte.
    async fn shows_a_byte(&self, answer: HttpResponse) -> bool {
        let Some(mut stream) = answer.stream else { return false };
        let first = timeout(self.session.limits.stall_timeout, stream.chunk()).await;
        matches!(first, Ok(Ok(Some(chunk))) if !chunk.is_empty())
    }

    /// Begins an upload, or mounts the blob. A registry that does not mount has begun an upload.
    pub async fn begin_upload(
        &self,
        blob: &BlobDescriptor,
        mount_from: Option<&str>,
    ) -> Result<UploadStart, CopyError> {
        let mut path = format!("/v2/{}/blobs/uploads/", self.repository);
        if let Some(from) = mount_from {
            path.push_str(&format!("?mount={}&from={from}", blob.digest));
        }
        let what = format!("an upload to {}", self.repository);
        let scope = TokenScope::push(self.repository).with_mount(mount_from);
        let ask = RegistryQuery::new(Method::POST, scope, path, what);
        let ask = ask.with_content("application/octet-stream", Bytes::new());
        let answer = self.session.transfer(&ask).await.map_err(failed)?;
        match answer.status {
            StatusCode::CREATED if mount_from.is_some() => Ok(UploadStart::Mounted),
            StatusCode::ACCEPTED => self.opened(&answer).map(Box::new).map(UploadStart::Open),
            _ => Err(of_target(self.session, &ask.what, answer)),
        }
    }

    /// The address of an upload. A registry behind a proxy that ends TLS may name itself without
    /// TLS; then the address is asked with TLS.
    fn opened(&self, answer: &HttpResponse) -> Result<OpenUpload, CopyError> {
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| answer.url.join(location).ok());
        let host = &self.session.endpoint.host;
        let lacks = || CopyError::nonsense(format!("{host} begins an upload without an address"));
        let mut location = location.ok_or_else(lacks)?;
        let is_same_host = location.host() == answer.url.host();
        if answer.url.scheme() == "https" && location.scheme() == "http" && is_same_host {
            let port = answer.url.port();
            location
                .set_scheme("https")
                .and_then(|()| location.set_port(port))
                .map_err(|()| lacks())?;
        }
        let (named_by, place) = (answer.url.clone(), answer.place);
        Ok(OpenUpload { location, named_by, place, repository: self.repository.to_owned() })
    }
}
