//! One container of a plan: how it is replaced, and on which image.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::decide::offer::Offer;
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::health_policy::HealthSettings;
use crate::core::policy::hooks::Hook;
use crate::core::policy::own_hooks::UpdateHooks;
use crate::core::policy::update_lock::UpdateLock;
use crate::core::recreate::{Recreation, RestartPolicy};

/// Where the new image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// The registry offers it.
    #[default]
    Registry,
    /// It ran before and was kept; a person rolls back to it.
    Kept,
    /// The local tag points at it: a person builds or pulls by hand.
    Local,
    /// A client pushed it to this machine. The local tag moves at the commit.
    Pushed,
}

/// The image that runs before an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousImage {
    pub image_id: String,
    /// The digest it was pulled by, if that is known.
    pub digest: Option<Digest>,
    /// All digests that are known to identify it.
    pub digests: BTreeSet<Digest>,
}

/// A new image for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUpdate {
    /// The image as the user wrote it, parsed.
    pub reference: Reference,
    #[serde(default)]
    pub source: ImageSource,
    /// The image that runs now.
    pub from: PreviousImage,
    /// The image that shall run.
    pub to: Offer,
    /// How many previous images stay on disk.
    pub images_keep: u32,
}

impl ImageUpdate {
    /// Whether the image stays and only the definition of the container changes.
    #[must_use]
    pub fn changes_only_definition(&self) -> bool {
        self.source == ImageSource::Pushed && self.to.has_id(&self.from.image_id)
    }

    /// The local name that the user's image has: `repository:tag`.
    #[must_use]
    pub fn local_name(&self) -> String {
        let tag = self.reference.tag.as_deref().unwrap_or_default();
        format!("{}:{tag}", self.reference.familiar_name())
    }
}

/// What happens to the image of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The container is recreated on the image that it already runs, because it depends on another
    /// member.
    #[default]
    Keep,
    /// The container gets a new image.
    To(Box<ImageUpdate>),
}

/// One container that an update replaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub container: String,
    /// The ID of the container that is replaced.
    pub old_container: String,
    /// The image as the user wrote it. The new container has the same text.
    pub image: String,
    /// What happens to its image.
    #[serde(default)]
    pub change: Change,
    /// How the container is recreated.
    pub recreation: Recreation,
    /// The user's restart policy. The new container gets it once it has proved itself.
    pub restart_policy: RestartPolicy,
    /// What the new container must prove.
    pub health: HealthSettings,
    /// How long the old container may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// The signal that stops it, if it is not the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The hook that runs in the old container before anything is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_update: Option<Hook>,
    /// Watchtower's hook that runs in the new container after its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_update: Option<Hook>,
    /// Pilotfish's own hooks.
    #[serde(default, skip_serializing_if = "UpdateHooks::is_empty")]
    pub hooks: UpdateHooks,
    /// The path in the old container that holds the update while it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<UpdateLock>,
}

impl Member {
    /// The name of the new container while it exists beside the old one.
    #[must_use]
    pub fn new_name(&self) -> String {
        names::new_name(&self.container)
    }

    /// The name of the old container while it is parked.
    #[must_use]
    pub fn old_name(&self) -> String {
        names::old_name(&self.container)
    }

    /// Removes all hooks.
    pub fn forget_hooks(&mut self) {
        (self.pre_update, self.post_update) = (None, None);
        self.hooks = UpdateHooks::default();
    }

    /// Its new image, if it gets one.
    #[must_use]
    pub fn update(&self) -> Option<&ImageUpdate> {
        match &self.change {
            Change::Keep => None,
            Change::To(update) => Some(update),
        }
    }

    /// The name that keeps its pushed image until a container runs it.
    #[must_use]
    pub fn push_name(&self, update: &ImageUpdate) -> String {
        names::push_name(&self.container, update.to.index.as_str())
    }

    /// The repository and the tag that keep its old image.
    #[must_use]
    pub fn keep_tag(&self, update: &ImageUpdate) -> (String, String) {
        (names::keep_repository(&self.container), names::keep_tag(&update.from.image_id))
    }
}
