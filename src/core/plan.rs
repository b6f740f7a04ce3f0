//! A plan: everything an update needs, decided. Execution has no choice left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::health_policy::HealthSettings;
use crate::core::names;
use crate::core::offer::Offer;
use crate::core::recreate::{Recreation, RestartPolicy};
use crate::core::reference::{Digest, Reference};

/// The image that runs before an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// Its ID on the Engine.
    pub image_id: String,
    /// The digest it was pulled by, if that is known.
    pub digest: Option<Digest>,
}

/// One update, decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Unique on this machine, and a file name: time and container.
    pub id: String,
    /// The container's name.
    pub container: String,
    /// The ID of the container that is to be replaced.
    pub old_container: String,
    /// The image as the user wrote it. The new container carries the same words.
    pub image: String,
    /// The same, parsed.
    pub reference: Reference,
    /// What runs now.
    pub from: From,
    /// What shall run.
    pub to: Offer,
    /// How the container is made again.
    pub recreation: Recreation,
    /// The user's restart policy, which the new container gets once it has proved itself.
    pub restart_policy: RestartPolicy,
    /// What the new container must prove.
    pub health: HealthSettings,
    /// How long the old container may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// How many previous images stay on disk.
    pub images_keep: u32,
}

impl Plan {
    /// An ID for an update that is decided now.
    #[must_use]
    pub fn make_id(container: &str, now: DateTime<Utc>) -> String {
        format!("{}-{}", now.format("%Y%m%dT%H%M%S%.3fZ"), names::file_name(container))
    }

    /// The name of the new container while it stands beside the old one.
    #[must_use]
    pub fn new_name(&self) -> String {
        names::new_name(&self.container)
    }

    /// The name of the old container while it is parked.
    #[must_use]
    pub fn old_name(&self) -> String {
        names::old_name(&self.container)
    }

    /// Where and under which tag the old image is kept.
    #[must_use]
    pub fn keep_tag(&self) -> (String, String) {
        (names::keep_repository(&self.container), names::keep_tag(&self.from.image_id))
    }
}

/// The first line of a journal: the plan, and what is needed to undo it without any registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format of this file.
    pub version: u32,
    /// When the update began, by the machine's clock.
    pub started_at: DateTime<Utc>,
    /// The boot in which it began (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// The plan.
    pub plan: Plan,
    /// The whole inspect document of the container that is to be replaced.
    pub original: Value,
    /// The image that the local tag pointed at.
    pub tag_before: Option<String>,
    /// Whether the Engine keeps containers alive without itself.
    pub live_restore: bool,
}

impl Header {
    /// The format that this program writes.
    pub const VERSION: u32 = 1;
}
