//! The restart policy, which an update removes for a while and then restores.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

/// A restart policy, with the field names of the Engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped` or `on-failure`. Empty means `no`.
    pub name: String,
    /// How often `on-failure` tries; 0 means without a limit.
    #[serde(default)]
    pub maximum_retry_count: i64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl RestartPolicy {
    /// The policy `name` without a limit on tries.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), maximum_retry_count: 0, other: Map::new() }
    }

    /// The policy `no`: the Engine never starts the container again.
    #[must_use]
    pub fn no() -> Self {
        Self::named("no")
    }

    /// Whether the Engine does not restart the container after an exit.
    #[must_use]
    pub fn is_no(&self) -> bool {
        matches!(self.name.as_str(), "" | "no")
    }
}

/// The restart policy of an inspect document or of a create body.
///
/// # Errors
///
/// [`CannotRecreate`] if the document has none, or one that cannot be read.
pub fn restart_policy(container: &Value) -> Result<RestartPolicy, CannotRecreate> {
    let place = JsonPath::root(container, "").path(&["HostConfig", "RestartPolicy"])?;
    let policy = Value::Object(place.object()?.clone());
    serde_json::from_value(policy).map_err(|error| place.refuse(format!("is unreadable: {error}")))
}

/// The same for an Engine that may be unable to change the policy. An update removes the policy and
/// restores it later, so that never two containers are started at boot. Podman's Docker API has no
/// `POST /containers/ID/update` (tried with 4.3).
///
/// # Errors
///
/// [`CannotRecreate`] as above, and if there is a policy that this Engine cannot change.
pub fn changeable_restart_policy(
    container: &Value,
    can_update: bool,
) -> Result<RestartPolicy, CannotRecreate> {
    let policy = restart_policy(container)?;
    if can_update || policy.is_no() {
        return Ok(policy);
    }
    let name = JsonPath::root(container, "").path(&["HostConfig", "RestartPolicy", "Name"])?;
    Err(name.refuse(format!("is {}, and this Engine cannot change a restart policy", policy.name)))
}

/// Replaces the restart policy of a create body.
pub fn set_restart_policy(body: &mut Value, policy: &RestartPolicy) {
    if let Some(host_config) = body.get_mut("HostConfig").and_then(Value::as_object_mut) {
        host_config.insert("RestartPolicy".to_owned(), json!(policy));
    }
}
