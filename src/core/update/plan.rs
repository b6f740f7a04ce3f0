//! A plan: everything an update needs, decided. Execution has no choice left.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::offer::Offer;
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::health_policy::HealthSettings;
use crate::core::recreate::{Recreation, RestartPolicy};

/// Where the new image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The registry offers it.
    #[default]
    Registry,
    /// It ran before and was kept; a person wants it back.
    Kept,
}

/// The image that runs before an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// Its ID on the Engine.
    pub image_id: String,
    /// The digest it was pulled by, if that is known.
    pub digest: Option<Digest>,
    /// Everything that is known to identify it.
    pub digests: BTreeSet<Digest>,
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
    /// Where the new image comes from.
    #[serde(default)]
    pub source: Source,
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

/// What a plan may be told of: everything but the container's configuration, whose environment
/// stands in the journal of an update in flight and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The container's name.
    pub container: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub from: Option<Digest>,
    /// The digest that shall run.
    pub to: Digest,
    /// How many layers it has.
    pub layers: usize,
    /// How many bytes they are, compressed.
    pub bytes: u64,
    /// How long the old container may take to stop.
    pub stop_timeout: Duration,
    /// How many previous images stay on disk.
    pub images_keep: u32,
}

impl Outline {
    /// The outline of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            container: plan.container.clone(),
            image: plan.image.clone(),
            from: plan.from.digest.clone(),
            to: plan.to.index.clone(),
            layers: plan.to.layers.len(),
            bytes: plan.to.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            stop_timeout: plan.stop_timeout,
            images_keep: plan.images_keep,
        }
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
