//! From what the Engine says of a running container to the body that creates it again.
//!
//! `inspect` shows what the user wrote and what the image brought as one. A body that repeated all
//! of it would freeze the old image's environment, command and health check, so the rule is
//! *inspect minus the old image's configuration*: what was the image's is left out, and the Engine
//! fills it in from the new image. Everything else goes through as raw JSON, fields included that
//! this program has never heard of.
//!
//! Two things inspect cannot tell: a value the user wrote that equals the image's default counts
//! as the image's and follows it; a host name on the host's network counts as the user's.
//!
//! What cannot be carried over is refused by name before anything is touched.

pub mod layer_files;
mod compose;
mod config;
pub mod compose_files;
pub mod dependents;
pub mod differences;
mod json_path;
pub mod self_update_helper;
pub mod equivalence;
mod networks;
mod podman;
mod entrypoint;
mod unsupported;
mod relink;
mod restart;
mod volumes;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::reference::Platform;
use crate::core::recreate::json_path::JsonPath;

pub use crate::core::recreate::compose::{
    COMPOSE_IMAGE_LABEL, is_same_project, is_same_service, set_compose_image,
};
pub use crate::core::recreate::podman::LIBPOD;
pub use crate::core::recreate::relink::{
    ReplacedContainer, depends_as_before, depends_on_moved, relink,
};
pub use crate::core::recreate::restart::{
    RestartPolicy, changeable_restart_policy, restart_policy, set_restart_policy,
};

/// What the Engine says of the container that is to be replaced.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// `GET /containers/ID/json`, read while the container runs: a stopped one has no addresses.
    pub container: &'a Value,
    /// `GET /images/ID/json` of the image it runs on, asked for by `container.Image`.
    pub image: &'a Value,
    /// The version both were read with and the body will be sent with.
    ///
    /// From 1.52 on inspect no longer tells which MAC address was asked for, so read with at most
    /// [`ApiVersion::V1_51`]; Engines that speak more accept that.
    pub api: ApiVersion,
}

/// Everything that is needed to create the container again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recreation {
    /// The body of `POST /containers/create`. `Image` is the reference as the user wrote it, and
    /// `HostConfig.RestartPolicy` is the original one: see [`set_restart_policy`].
    pub body: Value,
    /// Networks to connect to between create and start: below API 1.44 create takes only one.
    pub connect: Vec<NetworkEndpoint>,
    /// What to pass as `?platform=` (as `os/architecture/variant`), where a reference may stand
    /// for images of several platforms at once: the containerd image store.
    pub platform: Option<Platform>,
}

/// One network to connect the new container to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkEndpoint {
    /// The network's name.
    pub network: String,
    /// The `EndpointConfig` of `POST /networks/NETWORK/connect`.
    pub config: Value,
}

/// A field that cannot be carried over, so the container must not be touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct CannotRecreate {
    /// The path of the field in the inspect document, such as `HostConfig.AutoRemove`. A path in
    /// the image's document begins with `image:`.
    pub field: String,
    /// What is wrong with it, as the rest of a sentence that begins with the field.
    pub why: String,
}

/// The body that creates this container again on a new image.
///
/// # Errors
///
/// [`CannotRecreate`] for what cannot be carried over (`--rm`, Swarm tasks, no network at all) and
/// for documents that lack a field this needs or have another type there.
pub fn recreate(original: &Original<'_>) -> Result<Recreation, CannotRecreate> {
    let container = JsonPath::root(original.container, "");
    let image = JsonPath::root(original.image, "image:");
    unsupported::check(&container, &image)?;
    podman::refuse(&container)?;

    let mut config = config::user_values(&container, &image)?;
    let mut host_config = container.field("HostConfig")?.object()?.clone();
    volumes::reattach(&container, &mut host_config)?;
    podman::translate(&container, &image, &mut config, &mut host_config)?;
    let mut attached = networks::endpoints(&container, original.api)?;
    podman::keep_mac_addresses(&container, &mut attached.at_create)?;
    if original.api >= ApiVersion::V1_44 {
        // It stands in the endpoint now; from 1.52 on the Engine refuses it here.
        config.remove("MacAddress");
    }

    config.insert("HostConfig".to_owned(), Value::Object(host_config));
    config.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": attached.at_create }));
    let platform = platform(&container)?;
    Ok(Recreation { body: Value::Object(config), connect: attached.later, platform })
}

/// The platform of the manifest the container runs on, which only the containerd store tells.
fn platform(container: &JsonPath<'_>) -> Result<Option<Platform>, CannotRecreate> {
    let platform = container.path(&["ImageManifestDescriptor", "platform"])?;
    if platform.optional_object()?.is_none() {
        return Ok(None);
    }
    Ok(Some(Platform {
        os: platform.field("os")?.string()?.to_owned(),
        architecture: platform.field("architecture")?.string()?.to_owned(),
        variant: platform.field("variant")?.optional_string()?.unwrap_or_default().to_owned(),
    }))
}

/// The host name the Engine gives a container without one: the first 12 digits of its ID.
fn automatic_hostname(id: &str) -> &str {
    const SHORT_ID_LENGTH: usize = 12;
    id.get(..SHORT_ID_LENGTH).unwrap_or(id)
}

/// A map that is created in the body where the original has none.
fn or_empty(value: Option<&Map<String, Value>>) -> Map<String, Value> {
    value.cloned().unwrap_or_default()
}
