//! A plan for a service: one decided update with everything it needs.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::failed_tries::FailedTry;
use crate::core::docker::names;
use crate::core::docker::reference::{Digest, Platform};
use crate::core::service::spec::{self, ImageChange};
use crate::core::subject::Subject;

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
        spec::with_image(current, change)
    }

    /// The specification that replaces all tasks on the new image once more, because a task has no
    /// ports. The specification before is lost to Swarm by this, so it must not go back by itself.
    #[must_use]
    pub fn spec_of_repair(&self, current: &Value) -> Value {
        let mut config = self.plan.update_config.clone();
        if let Some(config) = config.as_object_mut() {
            config.insert("FailureAction".into(), "pause".into());
        }
        spec::forced(current, &config)
    }

    /// The specification that ends a rollback of Swarm's that hangs.
    #[must_use]
    pub fn spec_of_push(&self, current: &Value) -> Value {
        spec::forced(current, &self.plan.back_config)
    }

    /// The specification with the user's own settings again.
    #[must_use]
    pub fn spec_of_end(&self, current: &Value) -> Value {
        spec::with_users_config(current, &self.spec)
    }
}
