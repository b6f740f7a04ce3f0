//! A plan for a service: one decided update with everything it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::failed_tries::FailedTry;
use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::manifest::{Document, parse_document};
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Platform};
use crate::core::service::facts::TaskSlot;
use crate::core::service::spec::{self, ImageChange};
use crate::core::service::task::SwarmTask;
use crate::core::service::update_config;
use crate::core::service::watch::ServiceLook;
use crate::core::subject::Subject;

/// Extra time for all places together, because a busy manager answers late.
const WATCH_SLACK: Duration = Duration::from_secs(60);

/// Extra time for a rollback: Swarm itself waits a minute for an old task, and a rollback may have
/// to be helped more than once.
const ROLLBACK_SLACK: Duration = Duration::from_secs(180);

/// What a registry offers for the tag of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOffer {
    /// What the tag points at: an index, or a manifest.
    pub digest: Digest,
    /// The manifests in the index. A verdict is remembered for them as well, because a republished
    /// index must not make a bad image new.
    pub manifests: BTreeSet<Digest>,
    /// The platforms in the index. `None`: there is no index, and the platform that a lone image
    /// names is often wrong.
    pub platforms: Option<Vec<Platform>>,
}

impl ServiceOffer {
    /// Reads what is behind a digest: an index, or a lone manifest.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(digest: Digest, document: &[u8]) -> Result<Self, LookupError> {
        let wrong = |error| {
            let detail = format!("what {digest} leads to is unusable: {error}");
            LookupError::new(Reason::RegistryError, detail)
        };
        let entries = match parse_document(document).map_err(wrong)? {
            Document::Index(entries) => entries,
            Document::Manifest(_) => {
                return Ok(Self { digest, manifests: BTreeSet::new(), platforms: None });
            }
        };
        let manifests = entries.iter().map(|entry| entry.digest.clone()).collect();
        let platforms: Vec<_> = entries.into_iter().filter_map(|entry| entry.platform).collect();
        // An index that names no platform, such as one around another index, says nothing.
        let platforms = Some(platforms).filter(|platforms| !platforms.is_empty());
        Ok(Self { digest, manifests, platforms })
    }
}

/// One decided update of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Unique on this machine, and a file name: time and service.
    pub id: String,
    pub service: String,
    pub service_id: String,
    /// The image as the specification names it before the update.
    pub image: String,
    /// The digest that runs. If the specification names none, it is the digest of the agent's first
    /// look at the tag.
    pub from: Digest,
    pub to: Digest,
    /// All digests that identify the new image.
    pub digests: BTreeSet<Digest>,
    /// The image that the update writes, with its digest.
    pub new_image: String,
    /// The image that the rollback writes, with its digest.
    pub old_image: String,
    /// The platforms that the update writes; only if the specification names some.
    pub platforms: Option<Value>,
    /// The settings for the time of the update.
    pub update_config: Value,
    /// The settings for the time of a rollback.
    pub back_config: Value,
    /// How long each new task must run.
    pub stable: Duration,
    /// How long a task may take to become healthy.
    pub healthy: Duration,
}

impl ServicePlan {
    /// An ID for an update that is decided now.
    #[must_use]
    pub fn make_id(service: &str, now: DateTime<Utc>) -> String {
        format!("{}-{}", now.format("%Y%m%dT%H%M%S%.3fZ"), names::file_name(service))
    }

    /// What the update is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::service(&self.service)
    }

    /// Whether the specification names a digest, so that Swarm's own rollback leads back to the old
    /// image.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.image == self.old_image
    }

    /// How long the watch may take for what a look shows.
    #[must_use]
    pub fn watch_limit(&self, look: &ServiceLook) -> Duration {
        let longest = self.longest(&self.update_config, look);
        longest.saturating_add(self.stable).saturating_add(WATCH_SLACK)
    }

    /// How long the rollback may take for what a look shows.
    #[must_use]
    pub fn rollback_limit(&self, look: &ServiceLook) -> Duration {
        self.longest(&self.back_config, look).saturating_add(ROLLBACK_SLACK)
    }

    fn longest(&self, config: &Value, look: &ServiceLook) -> Duration {
        let slots = look.facts.slots(&look.nodes).len();
        update_config::longest(config, slots, look.facts.stop_grace, self.healthy)
    }

    /// Whether the update or its rollback writes this image.
    #[must_use]
    pub fn has_written(&self, image: &str) -> bool {
        image == self.new_image || image == self.old_image
    }

    /// A failed try of this plan, for the memory.
    #[must_use]
    pub fn failed_try(&self, detail: String, at: DateTime<Utc>, was_outage: bool) -> FailedTry {
        FailedTry {
            manifest: self.to.clone(),
            digests: self.digests.clone(),
            container_id: self.service_id.clone(),
            at,
            was_outage,
            detail,
        }
    }
}

/// The first line of the journal: the plan, and what is needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceHeader {
    /// Version of the format.
    pub version: u32,
    pub plan: ServicePlan,
    /// The whole specification before the update.
    pub spec: Value,
    /// The IDs of the tasks that existed before the update.
    pub known: BTreeSet<String>,
    pub started_at: DateTime<Utc>,
}

impl ServiceHeader {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;

    /// The header of an update that begins now. `service` is the document that the plan was decided
    /// on, `tasks` are the tasks of the service.
    #[must_use]
    pub fn begin(
        plan: ServicePlan,
        service: &Value,
        tasks: &[SwarmTask],
        started_at: DateTime<Utc>,
    ) -> Self {
        let spec = service.get("Spec").cloned().unwrap_or_default();
        let known = tasks.iter().map(|task| task.id.clone()).collect();
        Self { version: Self::VERSION, plan, spec, known, started_at }
    }

    /// The specification that the update writes, from the one that the Swarm has.
    #[must_use]
    pub fn spec_of_update(&self, current: &Value) -> Value {
        let ServicePlan { new_image, platforms, update_config, .. } = &self.plan;
        let platforms = platforms.as_ref();
        spec::with_image(current, ImageChange { image: new_image, platforms, update_config })
    }

    /// The specification that a rollback writes, from the one that the Swarm has.
    #[must_use]
    pub fn spec_of_rollback(&self, current: &Value) -> Value {
        let ServicePlan { old_image, back_config, .. } = &self.plan;
        let platforms = spec::platforms(&self.spec);
        let change = ImageChange { image: old_image, platforms, update_config: back_config };
        spec::with_image(&self.with_all_nodes(current), change)
    }

    /// The specification that replaces the task of a place once more during the update.
    ///
    /// The specification before is lost to Swarm by this, so Swarm must not go back by itself from
    /// here on.
    #[must_use]
    pub fn spec_of_repair(&self, current: &Value, slot: &TaskSlot) -> Value {
        let mut config = self.plan.update_config.clone();
        if let Some(config) = config.as_object_mut() {
            config.insert("FailureAction".into(), "pause".into());
        }
        with_fresh_tasks(current, std::slice::from_ref(slot), &config)
    }

    /// The specification that replaces the tasks of these places once more during the rollback.
    #[must_use]
    pub fn spec_of_help(&self, current: &Value, slots: &[TaskSlot]) -> Value {
        with_fresh_tasks(current, slots, &self.plan.back_config)
    }

    /// The nodes that a repair or a help has left out, and that must come back.
    #[must_use]
    pub fn left_out(&self, current: &Value) -> Vec<String> {
        spec::left_out(current, &self.spec)
    }

    /// The specification with all nodes.
    #[must_use]
    pub fn with_all_nodes(&self, current: &Value) -> Value {
        spec::with_all_nodes(current, &self.spec)
    }

    /// The specification that the update leaves: all nodes, and the user's own settings, unless a
    /// person has deployed another image since.
    #[must_use]
    pub fn spec_of_end(&self, current: &Value, image: &str) -> Value {
        let spec = self.with_all_nodes(current);
        if self.plan.has_written(image) { spec::with_users_config(&spec, &self.spec) } else { spec }
    }
}

fn with_fresh_tasks(current: &Value, slots: &[TaskSlot], config: &Value) -> Value {
    let node = |slot: &TaskSlot| match slot {
        TaskSlot::Node(id) => Some(id.clone()),
        TaskSlot::Replica(_) => None,
    };
    match slots.iter().map(node).collect::<Option<Vec<_>>>() {
        Some(nodes) => spec::without_nodes(current, &nodes, config),
        // A replica may go to any node, so only all of them can be replaced.
        None => spec::forced(current, config),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded::{TABLES, document, header, look};

    #[test]
    fn what_is_written_on_the_way_ends_in_the_recorded_specification() {
        let facts = look("good-settled").facts;
        let mut header = header(&facts.image, false);
        header.spec = document("good-settled")["service"]["Spec"].clone();
        let recorded = header.spec.clone();
        let slot = TaskSlot::Node(TABLES[0].into());
        let updated = header.spec_of_update(&recorded);
        assert_eq!(updated["TaskTemplate"]["ContainerSpec"]["Image"], header.plan.new_image);
        assert_eq!(updated["UpdateConfig"]["FailureAction"], "rollback");
        let repaired = header.spec_of_repair(&updated, &slot);
        assert_eq!(repaired["UpdateConfig"]["FailureAction"], "pause");
        assert_eq!(header.left_out(&repaired), [TABLES[0]]);
        assert_eq!(header.with_all_nodes(&repaired)["UpdateConfig"], repaired["UpdateConfig"]);
        let back = header.spec_of_rollback(&repaired);
        assert_eq!(header.left_out(&back), Vec::<String>::new());
        let helped = header.spec_of_help(&back, &[slot]);
        assert_eq!(header.left_out(&helped), [TABLES[0]]);
        assert_eq!(header.spec_of_end(&helped, &header.plan.old_image), recorded);
        // Another image has its own settings, but no node stays left out.
        let theirs = header.spec_of_end(&helped, "till:4");
        assert_eq!(header.left_out(&theirs), Vec::<String>::new());
        assert_eq!(theirs["UpdateConfig"], helped["UpdateConfig"]);
    }

    #[test]
    fn a_replica_can_only_be_replaced_with_all_others() {
        let header = header("till:1@sha256:1", false);
        let helped = header.spec_of_help(&header.spec, &[TaskSlot::Replica(2)]);
        assert_eq!(helped["TaskTemplate"]["ForceUpdate"], 1);
        assert_eq!(header.left_out(&helped), Vec::<String>::new());
    }
}
