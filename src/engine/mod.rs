//! Layer 1: what the agent asks of a container Engine, and the adapter for Docker's API.
//!
//! The trait is narrow: each method is one call of the Engine, named like it. No method decides
//! anything. Inspect and create travel as raw JSON, because a typed model drops the fields it does
//! not know, and a container would be rebuilt without them.

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

/// Why the Engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens, or may not be spoken to.
    #[error("the Engine at {host} cannot be reached: {detail}")]
    Unreachable {
        /// The address that was tried.
        host: String,
        /// What the system said, and what to do about it.
        detail: String,
    },
    /// No answer within the time-out. Whether it was done is not known.
    #[error("the Engine did not answer `{call}` within {seconds} s")]
    TimedOut {
        /// The call.
        call: &'static str,
        /// The time-out.
        seconds: u64,
    },
    /// The connection broke before the answer. Whether it was done is not known.
    #[error("the connection to the Engine broke during `{call}`: {detail}")]
    Broken {
        /// The call.
        call: &'static str,
        /// What the system said.
        detail: String,
    },
    /// A pull that is too slow to come to an end. The Engine gave it up when it was told to.
    #[error("the registry sent {bytes} bytes within {seconds} s, and the pull was given up")]
    PullTooSlow {
        /// What was fetched in that time.
        bytes: u64,
        /// The time.
        seconds: u64,
    },
    /// There is no such container, image or network (404).
    #[error("{message}")]
    NotFound {
        /// The Engine's own words.
        message: String,
    },
    /// It is in the way of something, or something is in its way (409).
    #[error("{message}")]
    Conflict {
        /// The Engine's own words.
        message: String,
    },
    /// Any other refusal.
    #[error("the Engine answered `{call}` with {status}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// The Engine's own words.
        message: String,
    },
    /// The answer makes no sense: this is no Engine, or none that we know.
    #[error("the answer to `{call}` is not what an Engine says: {detail}")]
    Garbage {
        /// The call.
        call: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl EngineError {
    /// Whether the Engine itself was away, so that nothing was learned about what it was asked.
    #[must_use]
    pub const fn is_engine_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. })
    }

    /// The Engine's own words, where it has answered with some; otherwise none.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::NotFound { message }
            | Self::Conflict { message }
            | Self::Refused { message, .. } => message,
            _ => "",
        }
    }

    /// Whether the thing that was asked about does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// What the Engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The version that is spoken with it.
    pub api: ApiVersion,
    /// Its own version, for people.
    pub version: String,
    /// Whether it has a call that changes a container's restart policy; Podman has none.
    pub can_update: bool,
    /// Where it keeps images and containers (`DockerRootDir`).
    pub root_dir: PathBuf,
    /// Whether containers outlive it (`LiveRestoreEnabled`).
    pub live_restore: bool,
    /// Who keeps the content of images.
    pub image_store: ImageStore,
    /// Whether images are kept by containerd, so that an image ID is a manifest digest.
    pub containerd_store: bool,
    /// Whether it unpacks layers that are packed with zstd.
    pub unpacks_zstd: bool,
    /// What it says of registries: the agent asks them as the Engine does.
    pub registries: EngineRegistries,
}

/// One line of the Engine's list of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The container's ID.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// `running`, `exited`, …, or a word this program has never heard of.
    pub state: String,
    /// The ID of its image.
    pub image_id: String,
    /// What it was created from. `None`: the list does not tell, and an inspect does.
    pub created_from: Option<CreatedFrom>,
    /// Its labels, those of the image included.
    pub labels: BTreeMap<String, String>,
    /// The IDs of its endpoints in networks, sorted; none while it does not run. Another one means
    /// that it was connected anew, perhaps with other links.
    pub endpoints: Vec<String>,
}

/// What a container was created from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedFrom {
    /// The image as the user wrote it.
    pub image: String,
    /// The platform's manifest, where the Engine tells it (API 1.48, containerd image store).
    pub manifest: Option<Digest>,
}

/// What the Engine's list of images tells of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The image's ID.
    pub id: String,
    /// `REPOSITORY:TAG` for each tag that points at it.
    pub tags: Vec<String>,
    /// `REPOSITORY@DIGEST` for each digest that leads to it. On containerd's store the list names
    /// one repository of several; their digests are the same there.
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

/// Something the Engine said about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The process ended.
    Died {
        /// The exit code.
        code: i64,
    },
    /// The kernel killed a process of it for its memory.
    OutOfMemory,
    /// The HEALTHCHECK changed its mind: `healthy` or `unhealthy`.
    Health(String),
    /// Somebody asked to stop or kill it.
    Killed,
    /// It was removed.
    Destroyed,
    /// Anything else.
    Other(String),
}

/// What a container Engine does for the agent.
pub trait Engine: Send + Sync + 'static {
    /// What the Engine says of itself; also negotiates the API version.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, EngineError>> + Send;

    /// Every container, running or not.
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

    /// Every image that the list tells everything of, each given to `take` as it comes, so that no
    /// more is kept of them than is needed. Images that only others are built on are left out.
    fn images(
        &self,
        take: &mut (dyn FnMut(ImageFacts) + Send),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Pulls exactly this digest. `progress` hears of every step; it must not block.
    fn pull(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
        credentials: Option<Credentials>,
        progress: &(dyn Fn(&PullProgress) + Send + Sync),
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Lets `name:tag` point at an image; moves the tag if it exists.
    fn tag(
        &self,
        image: &str,
        name: &str,
        tag: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a tag, or an image that nothing uses. Never by force. `false`: there was none.
    fn remove_image(&self, image: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Creates a container and gives its ID.
    fn create(
        &self,
        name: &str,
        body: &Value,
        platform: Option<&Platform>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Whether there is a network of this name or ID.
    fn has_network(&self, network: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// One volume by name, raw. `None`: there is no such volume.
    fn inspect_volume(
        &self,
        volume: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// Has the Engine mount everything that a container mounts, as a start would, and unmount it.
    /// `false`: it cannot. `true` also where it does not tell, as Podman does not.
    fn can_mount(&self, container: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Connects a container to one more network.
    fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Changes the restart policy and nothing else.
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

    /// Sends a signal to a container's process, and does not wait for what it does. A container
    /// that does not run is a conflict.
    fn kill(
        &self,
        container: &str,
        signal: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Starts a container. One that runs is no error.
    fn start(&self, container: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Renames a container.
    fn rename(
        &self,
        container: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container that does not run; with `volumes`, its anonymous volumes as well.
    /// `false`: there was none.
    fn remove(
        &self,
        container: &str,
        volumes: bool,
    ) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The last lines a container wrote, both streams.
    fn logs(
        &self,
        container: &str,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;

    /// What happens to a container from now on. Returns once the Engine has begun to listen. The
    /// stream ends when the Engine goes away.
    fn events(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<BoxStream<'static, ContainerEvent>, EngineError>> + Send;

    /// What differs between a container's own layer and its image, raw.
    fn changes(&self, container: &str) -> impl Future<Output = Result<Value, EngineError>> + Send;

    /// When an ordinary file in a container was last written; `None` for everything else.
    fn modified_at(
        &self,
        container: &str,
        path: &str,
    ) -> impl Future<Output = Result<Option<DateTime<Utc>>, EngineError>> + Send;

    /// Makes a volume with these labels. One of this name that exists stays as it is, which is no
    /// error: of several who make it, the labels of the first one stand.
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

    /// Removes a volume that no container uses. `false`: there was none.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Runs a command in a container and gives its exit code. After `timeout` it is no longer
    /// waited for; no call of the Engine ends it.
    fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, EngineError>> + Send;
}
