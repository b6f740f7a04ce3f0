//! Layer 1: the interface to a container Engine, and the adapter for Docker's API.
//!
//! The interface is one trait for each kind of object, and [`Engine`] is all of them. Each trait is
//! narrow: a method is one call of the Engine, with the same name. No method decides anything.
//! Inspect and create use raw JSON, because a typed model drops the fields that it does not know,
//! and a container would be recreated without them.

mod containers;
mod error;
mod images;
mod networks;
mod services;
mod volumes;

pub mod docker;

use std::path::PathBuf;

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::image_store::ImageStore;
use crate::core::docker::reference::Platform;
pub use containers::{ContainerEvent, Containers, CreatedFrom, Listed, PathStat};
pub use error::EngineError;
pub use images::{ImageFacts, Images, ListedImage};
pub use networks::Networks;
pub use services::{ServiceChange, Services, SwarmMembership};
pub use volumes::Volumes;

/// The Engine's facts about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The negotiated API version.
    pub api: ApiVersion,
    /// Its platform. The variant of an ARM is not known.
    pub platform: Platform,
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
    /// How it takes part in a Swarm.
    pub swarm: SwarmMembership,
}

/// A container Engine: the calls for each kind of object, and its facts about itself.
pub trait Engine: Containers + Images + Networks + Volumes + Services {
    /// The Engine's facts about itself. Also negotiates the API version.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, EngineError>> + Send;
}
