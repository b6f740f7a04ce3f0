//! What the mirror asks registries for: manifests with their bytes unchanged, blobs as streams, and
//! everything that writes to a registry.
//!
//! ```text
//! client      HttpRegistry as a `Transfer`   <- start here
//!   manifests   tags, manifests, referrers, lists of tags
//!   blobs       whether a blob is there, mounts, the begin of an upload
//!   upload      one streamed PUT, whose last bytes wait for the sum
//!     source      a blob that is read on after the connection broke
//!     movement    whether bytes still move
//!   refusal     what the failures of a target mean
//! ```

mod blobs;
mod client;
mod manifests;
mod movement;
mod refusal;
mod source;
mod upload;

pub(in crate::registry) use manifests::At;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Url;

use crate::core::docker::address_scope::AddressScope;
use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::{BlobDescriptor, RawManifest};
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::RepositoryName;

/// An upload that a target began. It is used once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Where the content goes. It holds the target's state, so it is only added to.
    location: Url,
    /// The target that named it.
    named_by: Url,
    place: AddressScope,
    repository: String,
}

/// How an upload began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadStart {
    /// Nothing is sent: the target took the blob from another of its repositories.
    Mounted,
    /// The content is awaited.
    Open(Box<OpenUpload>),
}

/// How content flows.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Most bytes in a second.
    pub rate: Option<u64>,
    /// Counts the bytes that the source sent, again ones included.
    pub received: Arc<AtomicU64>,
}

impl Flow {
    /// Bytes that the source sent so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A manifest that a target took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredManifest {
    /// The target lists it under its subject by itself (`OCI-Subject`), so no tag is needed.
    pub has_referrers_api: bool,
}

/// Copies between registries, one call for each request. The order is in
/// [`core::mirror::plan`](crate::core::mirror::plan).
pub trait Transfer: Send + Sync + 'static {
    /// What a tag points at, by `HEAD`; `None` if there is no such tag.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn digest_of(
        &self,
        at: &RepositoryName,
        tag: &str,
    ) -> impl Future<Output = Result<Option<Digest>, CopyError>> + Send;

    /// A manifest or an index by its digest, checked against it. It costs a pull where pulls are
    /// counted.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn manifest(
        &self,
        at: &RepositoryName,
        digest: &Digest,
    ) -> impl Future<Output = Result<RawManifest, CopyError>> + Send;

    /// The list of documents about a manifest, from the referrers API; `None` if the registry does
    /// not have that API.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn referrers(
        &self,
        at: &RepositoryName,
        subject: &Digest,
    ) -> impl Future<Output = Result<Option<RawManifest>, CopyError>> + Send;

    /// All tags of a repository, page by page; none if there is no such repository.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn tags(
        &self,
        at: &RepositoryName,
    ) -> impl Future<Output = Result<Vec<String>, CopyError>> + Send;

    /// Whether a repository has a blob and can show its first byte. A registry may vouch for a blob
    /// that its garbage collection removed (measured on distribution 2.8 and 3.1).
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn has_blob(
        &self,
        at: &RepositoryName,
        blob: &BlobDescriptor,
    ) -> impl Future<Output = Result<bool, CopyError>> + Send;

    /// Begins an upload. `mount_from` is a repository of the same registry that may have the blob.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn begin_upload(
        &self,
        to: &RepositoryName,
        blob: &BlobDescriptor,
        mount_from: Option<&str>,
    ) -> impl Future<Output = Result<UploadStart, CopyError>> + Send;

    /// Streams a blob from a source into an upload. The last bytes are sent only if the sum of all
    /// is the digest, so nothing wrong is ever stored.
    ///
    /// # Errors
    /// Every failure, each with one word. The upload is lost then; another one is begun.
    fn send_blob(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        upload: Box<OpenUpload>,
        blob: &BlobDescriptor,
        flow: &Flow,
    ) -> impl Future<Output = Result<(), CopyError>> + Send;

    /// Stores a manifest under a tag, or under its digest without a tag.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn put_manifest(
        &self,
        to: &RepositoryName,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> impl Future<Output = Result<StoredManifest, CopyError>> + Send;

    /// Deletes a manifest with all of its tags. One that is gone already counts as deleted.
    ///
    /// # Errors
    /// Every failure, each with one word.
    fn delete(
        &self,
        at: &RepositoryName,
        digest: &Digest,
    ) -> impl Future<Output = Result<(), CopyError>> + Send;
}
