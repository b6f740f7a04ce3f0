//! Layer 1: the interface to a container Engine, and the adapter for Docker's API.
//!
//! The trait is narrow: each method is one call of the Engine, with the same name. No method
//! decides anything. Inspect and create use raw JSON, because a typed model drops the fields that
//! it does not know, and a container would be recreated without them.

pub mod docker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::image_store::ImageStore;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::recreate::RestartPolicy;
use crate::core::update::event::PullProgress;

/// Why a call to the Engine failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The Engine cannot be reached, or access is denied.
    #[error("the Engine at {host} cannot be reached: {detail}")]
    Unreachable {
        /// The address that was tried.
        host: String,
        /// The system's error, and what to do about it.
        detail: String,
    },
    /// No answer within the time-out. It is not known whether the call was carried out.
    #[error("the Engine did not answer `{call}` within {seconds} s")]
    TimedOut {
        /// The call.
        call: &'static str,
        /// The time-out.
        seconds: u64,
    },
    /// The connection broke before the answer. It is not known whether the call was carried out.
    #[error("the connection to the Engine broke during `{call}`: {detail}")]
    Broken {
        /// The call.
        call: &'static str,
        /// The system's error.
        detail: String,
    },
    /// A pull that is too slow to end. The Engine stopped it when the agent closed the request.
    #[error("the registry sent only {bytes} bytes within {seconds} s, so the pull was stopped")]
    PullTooSlow {
        /// What was pulled in that time.
        bytes: u64,
        /// The measured time.
        seconds: u64,
    },
    /// The container, image, volume or network does not exist (404).
    #[error("{message}")]
    NotFound {
        /// The Engine's own words.
        message: String,
    },
    /// A conflict with another thing or action (409).
    #[error("{message}")]
    Conflict {
        /// The Engine's own words.
        message: String,
    },
    /// Any other error status.
    #[error("the Engine answered `{call}` with {status}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The Engine's own words.
        message: String,
    },
    /// The answer is invalid: this is no Engine, or an unknown one.
    #[error("the answer to `{call}` is not an Engine's: {detail}")]
    Garbage {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl EngineError {
    /// Whether the Engine was away, so that the call says nothing about its subject.
    #[must_use]
    pub const fn is_engine_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. })
    }

    /// The Engine's own message; empty if it has sent none.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::NotFound { message }
            | Self::Conflict { message }
            | Self::Refused { message, .. } => message,
            _ => "",
        }
    }

    /// Whether the subject of the call does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// The Engine's facts about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The negotiated API version.
    pub api: ApiVersion,
    /// Its own version, for people.
    pub version: String,
    /// Whether it can change a container's restart policy; Podman cannot.
    pub can_update: bool,
    /// The directory of its images and containers (`DockerRootDir`).
    pub root_dir: PathBuf,
    /// Whether containers keep running without it (`LiveRestoreEnabled`).
    pub live_restore: bool,
    /// The image store.
    pub image_store: ImageStore,
    /// Whether containerd stores the images, so that an image ID is a manifest digest.
    pub containerd_store: bool,
    /// Whether it can unpack layers that use zstd.
    pub unpacks_zstd: bool,
    /// Its settings for registries: the agent uses them too.
    pub registries: EngineRegistries,
}

/// One row of the Engine's list of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The container's ID.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// `running`, `exited`, …, or an unknown word.
    pub state: String,
    /// The ID of its image.
    pub image_id: String,
    /// What it was created from. `None`: the list does not contain it, but an inspect does.
    pub created_from: Option<CreatedFrom>,
    /// Its labels, including those of the image.
    pub labels: BTreeMap<String, String>,
    /// The IDs of its network endpoints, sorted; empty if it does not run. A different ID means
    /// that it was connected again, perhaps with other links.
    pub endpoints: Vec<String>,
}

/// What a container was created from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedFrom {
    /// The image as the user wrote it.
    pub image: String,
    /// The platform's manifest, if the Engine's list contains it (API 1.48, containerd image
    /// store).
    pub manifest: Option<Digest>,
}

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

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The process ended.
    Died {
        /// The exit code.
        code: i64,
    },
    /// The kernel killed one of its processes because of its memory limit.
    OutOfMemory,
    /// The result of its HEALTHCHECK changed: `healthy` or `unhealthy`.
    Health(String),
    /// A client stopped or killed it.
    Killed,
    /// It was removed.
    Destroyed,
    /// Anything else.
    Other(String),
}

/// The calls of a container Engine that the agent uses.
pub trait Engine: Send + Sync + 'static {
    /// The Engine's facts about itself. Also negotiates the API version.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, EngineError>> + Send;

    /// All containers, running or not.
    fn list(&self) -> impl Future<Output = Result<Vec<Listed>, EngineError>> + Send;

    /// One container by name or ID, raw. `None`: there is no such container.
    fn inspect(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

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

    /// Makes `name:tag` point at an image; moves the tag if it exists.
    fn tag(
        &self,
        image: &str,
        name: &str,
        tag: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a tag, or an image that is not in use. Never by force. `false`: it did not exist.
    fn remove_image(&self, image: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Creates a container and returns its ID.
    fn create(
        &self,
        name: &str,
        body: &Value,
        platform: Option<&Platform>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Whether a network with this name or ID exists.
    fn has_network(&self, network: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// One volume by name, raw. `None`: there is no such volume.
    fn inspect_volume(
        &self,
        volume: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// Asks the Engine to mount everything that a container mounts, as a start would, and to
    /// unmount it. `false`: it cannot. `true` also if the Engine does not say it, as with Podman.
    fn can_mount(&self, container: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Connects a container to one more network.
    fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Changes only the restart policy.
    fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Stops a container with its own signal, and kills it after `timeout`. A container that does
    /// not run is no error.
    fn stop(
        &self,
        container: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Sends a signal to a container's process, and does not wait for the effect. A container that
    /// does not run is a conflict.
    fn kill(
        &self,
        container: &str,
        signal: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Starts a container. A running container is no error.
    fn start(&self, container: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Renames a container.
    fn rename(
        &self,
        container: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container that does not run; with `volumes`, also its anonymous volumes. `false`:
    /// it did not exist.
    fn remove(
        &self,
        container: &str,
        volumes: bool,
    ) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The last log lines of a container, from both streams.
    fn logs(
        &self,
        container: &str,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;

    /// The events of a container from now on. Returns when the Engine has begun to listen. The
    /// stream ends when the Engine goes away.
    fn events(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<BoxStream<'static, ContainerEvent>, EngineError>> + Send;

    /// The differences between a container's own layer and its image, raw.
    fn changes(&self, container: &str) -> impl Future<Output = Result<Value, EngineError>> + Send;

    /// When an ordinary file in a container was last written; `None` for anything else.
    fn modified_at(
        &self,
        container: &str,
        path: &str,
    ) -> impl Future<Output = Result<Option<DateTime<Utc>>, EngineError>> + Send;

    /// Creates a volume with these labels. An existing volume with this name stays as it is, which
    /// is no error: the labels of the first client count.
    fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The labels of a volume. `None`: there is no such volume.
    fn volume_labels(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<BTreeMap<String, String>>, EngineError>> + Send;

    /// Removes a volume that no container uses. `false`: it did not exist.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Runs a command in a container and returns its exit code. After `timeout` it returns without
    /// waiting any longer; the Engine has no call that ends the command.
    fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, EngineError>> + Send;
}
