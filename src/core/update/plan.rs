//! A plan: one decided update with everything it needs. Its execution decides nothing.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::failed_tries::FailedTry;
use crate::core::decide::offer::Offer;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::docker::{inspect, names};
use crate::core::policy::health_policy::HealthSettings;
use crate::core::policy::hooks::Hook;
use crate::core::policy::own_hooks::UpdateHooks;
use crate::core::policy::update_lock::UpdateLock;
use crate::core::recreate::{Recreation, ReplacedContainer, RestartPolicy, depends_as_before};
use crate::core::subject::Subject;

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

/// One container that an update replaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub container: String,
    /// The ID of the container that is replaced.
    pub old_container: String,
    /// The image as the user wrote it. The new container has the same text.
    pub image: String,
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
}

/// One decided update.
///
/// Its members are the container whose image changes, and its dependents, each after the containers
/// that it depends on itself. A member is identified by its number; 0 is the main one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Unique on this machine, and a file name: time and container.
    pub id: String,
    /// The container whose image changes.
    #[serde(flatten)]
    pub main: Member,
    /// Its image as the user wrote it, parsed.
    pub reference: Reference,
    #[serde(default)]
    pub source: ImageSource,
    /// The image that runs now.
    pub from: PreviousImage,
    /// The image that shall run.
    pub to: Offer,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The dependents. Each is recreated on the image that it already runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Member>,
}

impl Plan {
    /// An ID for an update that is decided now.
    #[must_use]
    pub fn make_id(container: &str, now: DateTime<Utc>) -> String {
        format!("{}-{}", now.format("%Y%m%dT%H%M%S%.3fZ"), names::file_name(container))
    }

    /// What the update is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::container(&self.main.container)
    }

    /// The member with this number; an unknown number gives the main one.
    #[must_use]
    pub fn member(&self, number: usize) -> &Member {
        number.checked_sub(1).and_then(|index| self.dependents.get(index)).unwrap_or(&self.main)
    }

    /// The numbers of all members, in order.
    #[must_use]
    pub fn numbers(&self) -> Range<usize> {
        0..self.dependents.len() + 1
    }

    /// The names of all members, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.numbers().map(|number| self.member(number).container.as_str())
    }

    /// Removes all hooks.
    pub fn forget_hooks(&mut self) {
        for member in std::iter::once(&mut self.main).chain(&mut self.dependents) {
            (member.pre_update, member.post_update) = (None, None);
            member.hooks = UpdateHooks::default();
        }
    }

    /// Whether a pre-update hook must be run first.
    #[must_use]
    pub fn has_pre_update_hooks(&self) -> bool {
        self.numbers().any(|number| self.member(number).pre_update.is_some())
    }

    /// The names of the dependents, in order.
    #[must_use]
    pub fn dependent_names(&self) -> Vec<String> {
        self.dependents.iter().map(|member| member.container.clone()).collect()
    }

    /// A failed try of this plan.
    #[must_use]
    pub fn failed_try(&self, detail: String, at: DateTime<Utc>, was_outage: bool) -> FailedTry {
        FailedTry {
            manifest: self.to.manifest.clone(),
            digests: self.to.digests(),
            container_id: self.main.old_container.clone(),
            at,
            was_outage,
            detail,
        }
    }

    /// A detail with the name of its member before it. The main one needs no name.
    #[must_use]
    pub fn naming(&self, number: usize, detail: impl Into<String>) -> String {
        match number {
            0 => detail.into(),
            number => format!("{}: {}", self.member(number).container, detail.into()),
        }
    }

    /// A line of a container's log. With dependents, the name of the container stands before it.
    #[must_use]
    pub fn quoting(&self, number: usize, line: String) -> String {
        let name = &self.member(number).container;
        if self.dependents.is_empty() { line } else { format!("{name}: {line}") }
    }

    /// Says which container replaces the old one of a member.
    #[must_use]
    pub fn replaced_by(&self, number: usize, to: String) -> ReplacedContainer {
        let member = self.member(number);
        ReplacedContainer { name: member.container.clone(), from: member.old_container.clone(), to }
    }

    /// The repository and the tag that keep the old image.
    #[must_use]
    pub fn keep_tag(&self) -> (String, String) {
        (names::keep_repository(&self.main.container), names::keep_tag(&self.from.image_id))
    }
}

/// The parts of a plan that may be shown: everything but the container's configuration, because its
/// environment may be only in the journal of a running update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub from: Option<Digest>,
    /// The digest that shall run.
    pub to: Digest,
    /// The number of layers.
    pub layers: usize,
    /// Compressed size of the layers in bytes.
    pub bytes: u64,
    /// How long the old container may take to stop.
    pub stop_timeout: Duration,
    /// The signal that stops it, if it is not the container's own.
    pub stop_signal: Option<String>,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The dependents that are recreated with it.
    pub dependents: Vec<String>,
}

impl Outline {
    /// The outline of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            subject: plan.subject(),
            image: plan.main.image.clone(),
            from: plan.from.digest.clone(),
            to: plan.to.index.clone(),
            layers: plan.to.layers.len(),
            bytes: plan.to.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            stop_timeout: plan.main.stop_timeout,
            stop_signal: plan.main.stop_signal.clone(),
            images_keep: plan.images_keep,
            dependents: plan.dependent_names(),
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
    pub plan: Plan,
    /// The whole inspect document of the container that is replaced.
    pub original: Value,
    /// The same for each of the plan's dependents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Value>,
    /// The image that the local tag pointed at.
    pub tag_before: Option<String>,
    /// Whether containers keep running while the Engine is down.
    pub live_restore: bool,
}

impl Header {
    /// The newest format that this program reads.
    pub const VERSION: u32 = 3;

    /// The format of a plan's journal. An older program must not continue a plan with dependents
    /// (2), or with Pilotfish's own hooks or locks (3), because it would ignore them. It can
    /// continue any other plan.
    #[must_use]
    pub fn version_of(plan: &Plan) -> u32 {
        let is_new = |member: &Member| !member.hooks.is_empty() || member.lock.is_some();
        let has_new = plan.numbers().any(|number| is_new(plan.member(number)));
        match (has_new, plan.dependents.is_empty()) {
            (true, _) => Self::VERSION,
            (false, false) => 2,
            (false, true) => 1,
        }
    }

    /// The inspect document of the old container of a member.
    #[must_use]
    pub fn original_of(&self, number: usize) -> &Value {
        number
            .checked_sub(1)
            .map_or(Some(&self.original), |index| self.dependents.get(index))
            .unwrap_or(&Value::Null)
    }

    /// The ID of the image that the old container of a member runs on.
    #[must_use]
    pub fn old_image(&self, number: usize) -> &str {
        match number {
            0 => &self.plan.from.image_id,
            number => inspect::image_id(self.original_of(number)),
        }
    }

    /// Whether a container of a member depends on what the old one depended on. `restored` are the
    /// members that serve again. An Engine that was restarted resolves the names in links anew.
    #[must_use]
    pub fn depends_as_before(
        &self,
        number: usize,
        container: &Value,
        restored: &[ReplacedContainer],
    ) -> bool {
        let is_told = number != 0 && container.get("HostConfig").is_some();
        !is_told || depends_as_before(self.original_of(number), container, restored).unwrap_or(true)
    }
}
