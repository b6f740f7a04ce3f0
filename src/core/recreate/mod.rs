//! Turns what the Engine reports of a running container into the body that creates it again.
//!
//! `inspect` shows the user's values and the image's values together. A body with all of them would
//! keep the old image's environment, command and health check. So the rule is *inspect minus the
//! old image's configuration*: the image's values are left out, and the Engine fills them in from
//! the new image. All other values are passed on as raw JSON, unknown fields included.
//!
//! Inspect does not show two things: a user's value that equals the image's default counts as the
//! image's and follows it; a host name on the host's network counts as the user's.
//!
//! A value that cannot be carried over is refused by name before anything is touched.

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
mod join;
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
pub use crate::core::recreate::join::{beside, joins};
pub use crate::core::recreate::podman::LIBPOD;
pub use crate::core::recreate::relink::{
    ReplacedContainer, depends_as_before, depends_on_moved, relink,
};
pub use crate::core::recreate::restart::{
    RestartPolicy, changeable_restart_policy, restart_policy, set_restart_policy,
};

/// What the Engine reports of the container that is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// `GET /containers/ID/json`, read while the container runs: a stopped one has no addresses.
    pub container: &'a Value,
    /// `GET /images/ID/json` of the image it runs, requested by `container.Image`.
    pub image: &'a Value,
    /// The API version with which both were read and the body will be sent.
    ///
    /// From 1.52 on inspect no longer shows which MAC address was requested, so at most
    /// [`ApiVersion::V1_51`] is used; newer Engines accept that.
    pub api: ApiVersion,
}

/// Everything that is needed to create the container again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recreation {
    /// The body of `POST /containers/create`. `Image` is the reference as the user wrote it, and
    /// `HostConfig.RestartPolicy` is the original one: see [`set_restart_policy`].
    pub body: Value,
    /// Networks to connect between create and start: below API 1.44 create takes only one.
    pub connect: Vec<NetworkEndpoint>,
    /// The value of `?platform=` (as `os/architecture/variant`), if a reference may stand for
    /// images of several platforms at once: the containerd image store.
    pub platform: Option<Platform>,
}

/// One network to connect the new container to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkEndpoint {
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
/// [`CannotRecreate`] if something cannot be carried over (`--rm`, Swarm tasks, no network at all),
/// or if a document lacks a needed field or has another type there.
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
        // It is in the endpoint now; from 1.52 on the Engine refuses it here.
        config.remove("MacAddress");
    }

    config.insert("HostConfig".to_owned(), Value::Object(host_config));
    config.insert("NetworkingConfig".to_owned(), json!({ "EndpointsConfig": attached.at_create }));
    let platform = platform(&container)?;
    Ok(Recreation { body: Value::Object(config), connect: attached.later, platform })
}

/// The platform of the manifest that the container runs; only the containerd store shows it.
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

/// The host name that the Engine gives to a container without one: the first 12 digits of its ID.
fn automatic_hostname(id: &str) -> &str {
    const SHORT_ID_LENGTH: usize = 12;
    id.get(..SHORT_ID_LENGTH).unwrap_or(id)
}

/// A map for the body, even if the original has none.
fn or_empty(value: Option<&Map<String, Value>>) -> Map<String, Value> {
    value.cloned().unwrap_or_default()
}
