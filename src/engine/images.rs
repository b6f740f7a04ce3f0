//! The calls for images.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::Value;

use super::EngineError;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::load_answer::LoadAnswer;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::update::event::PullProgress;

/// One row of the Engine's list of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image's ID.
    pub id: String,
    /// `REPOSITORY:TAG` for each tag that points at it.
    pub tags: Vec<String>,
    /// `REPOSITORY@DIGEST` for each of its digests. With the containerd image store the list
    /// contains only one repository of several; their digests are the same there.
    pub repo_digests: Vec<String>,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
}

/// A name of an image in the Engine's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The image's ID.
    pub id: String,
    /// `repository:tag` for each tag.
    pub tags: Vec<String>,
    /// When it was built, as seconds since 1970.
    pub created: i64,
}

/// The calls of an Engine for images.
pub trait Images: Send + Sync + 'static {
    /// One image by reference or ID, raw. `None`: there is no such image.
    fn inspect_image(
        &self,
        image: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// The images whose name matches, e.g. `pilotfish-keep/till`.
    fn list_images(
        &self,
        repository: &str,
    ) -> impl Future<Output = Result<Vec<ListedImage>, EngineError>> + Send;

    /// Passes each image with a complete row in the list to `take`, one by one, so that the caller
    /// keeps only what it needs. Intermediate images are left out.
    fn images(
        &self,
        take: &mut (dyn FnMut(ImageFacts) + Send),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Pulls exactly this digest. `progress` is called for every change, and must not block.
    fn pull(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
        credentials: Option<Credentials>,
        progress: &(dyn Fn(&PullProgress) + Send + Sync),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Loads an image archive while it arrives. An error in the stream breaks the request off, and
    /// then the Engine keeps nothing. Whether it was loaded is in the answer.
    fn load(
        &self,
        archive: BoxStream<'static, io::Result<Bytes>>,
    ) -> impl Future<Output = Result<LoadAnswer, EngineError>> + Send;

    /// Makes `name:tag` point at an image; moves the tag if it exists.
    fn tag(
        &self,
        image: &str,
        name: &str,
        tag: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a tag, or an image that is not in use. Never by force. `false`: it did not exist.
    fn remove_image(&self, image: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;
}
