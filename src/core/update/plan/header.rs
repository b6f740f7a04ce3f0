//! The first line of a journal: the plan, and what is needed to undo it without any registry.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plan;
use crate::core::docker::inspect;
use crate::core::recreate::{ReplacedContainer, depends_as_before};

/// What was there of one member before its update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The whole inspect document of the container that is replaced.
    pub original: Value,
    /// The image that its local tag pointed at, if its image changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_before: Option<String>,
}

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Header {
    /// Version of the format of this file.
    pub version: u32,
    /// When the update began, by the machine's clock.
    pub started_at: DateTime<Utc>,
    /// The boot in which it began (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    pub plan: Plan,
    /// What was there of each member, by its number.
    pub recorded: Vec<Recorded>,
    /// Whether containers keep running while the Engine is down.
    pub live_restore: bool,
}

impl Header {
    /// The format that this program writes, and the newest one that it reads. Format 1 has one
    /// container, and format 2 a main container and its dependents.
    pub const VERSION: u32 = 3;

    /// The inspect document of the old container of a member.
    #[must_use]
    pub fn original_of(&self, number: usize) -> &Value {
        self.recorded.get(number).map_or(&Value::Null, |recorded| &recorded.original)
    }

    /// The image that the local tag of a member pointed at, if there was such a tag.
    #[must_use]
    pub fn tag_before(&self, number: usize) -> Option<&str> {
        self.recorded.get(number).and_then(|recorded| recorded.tag_before.as_deref())
    }

    /// The ID of the image that the old container of a member runs on.
    #[must_use]
    pub fn old_image(&self, number: usize) -> &str {
        match self.plan.member(number).update() {
            Some(update) => &update.from.image_id,
            None => inspect::image_id(self.original_of(number)),
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
        // The first member depends on no other one.
        let is_told = number != 0 && container.get("HostConfig").is_some();
        !is_told || depends_as_before(self.original_of(number), container, restored).unwrap_or(true)
    }
}
