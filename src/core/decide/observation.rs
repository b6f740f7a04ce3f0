//! What is known of a watched container: facts only, no handles and no decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::core::decide::failed_tries::Failing;
use crate::core::decide::memory::Refusal;
use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::origin::ImageOrigin;
use crate::core::decide::quota::Hold;
use crate::core::decide::start_requirements::CheckedRequirement;
use crate::core::decide::update_lock::SeenLock;
use crate::core::deployment::DeploymentFacts;
use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::image_version::ImageVersion;
use crate::core::docker::reference::{Digest, Platform, Reference, ReferenceError};
use crate::core::policy::group::Membership;
use crate::core::policy::managers::Manager;
use crate::core::policy::{LabelError, Policy, Selection};
use crate::core::recreate::dependents::DependsOn;
use crate::core::subject::Subject;

/// What is known of one watched container. There may be thousands: what few of them have is boxed.
#[derive(Debug, Clone)]
pub struct Observation {
    pub id: String,
    pub name: String,
    /// Whether this agent runs in the container.
    pub is_self: bool,
    /// `running`, `exited`, …, as the Engine writes it.
    pub state: String,
    /// The exit code of its last run, if it has ended and this is known.
    pub exit_code: Option<i64>,
    /// Whether it is a job of its group: a one-shot that runs before the members are replaced.
    pub is_job: bool,
    /// The image as the user wrote it.
    pub image: String,
    /// The same, parsed.
    pub reference: Result<Reference, ReferenceError>,
    /// The other program that creates and replaces the container.
    pub manager: Option<Manager>,
    /// The parsed labels.
    pub policy: Result<Policy, Vec<LabelError>>,
    /// The running image, or why the Engine did not report it.
    pub running: Result<Running, String>,
    pub offered: Offered,
    /// Set if the registry's quota is too small for what this container needs next.
    pub hold: Option<Box<Hold>>,
    /// The refusal of the offered digest.
    pub refusal: Option<Box<Refusal>>,
    /// Failed tries of the offered image that did not judge it.
    pub failing: Option<Box<Failing>>,
    /// The image that a rollback by hand would go to.
    pub previous: Previous,
    /// Set if it is the container of a deployment.
    pub deployment: Option<Box<DeploymentFacts>>,
    /// What an earlier update left behind.
    pub open_update: Option<OpenUpdate>,
    /// What an update would meet; found out only if an update is due.
    pub readiness: Option<Box<Readiness>>,
}

/// The image that a container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    pub image_id: String,
    /// Every digest that is known to lead to this image.
    pub digests: BTreeSet<Digest>,
    /// The digest shown to people: the one of the container's own repository.
    pub digest: Option<Digest>,
    /// The platform's manifest, if the Engine reports it (containerd image store).
    pub manifest: Option<Digest>,
    /// The platform of the image; empty until another image is offered, because only an inspect
    /// reports it.
    pub platform: Platform,
    /// Whether the image came from the repository of its name.
    pub origin: ImageOrigin,
    /// The user wrote the image's ID, whole or short.
    pub is_written_as_id: bool,
    /// The version that the image states as its own.
    pub version: Option<ImageVersion>,
    /// Whether this look has inspected the image, so that its digests are the Engine's newest.
    pub is_inspected: bool,
}

impl Observation {
    /// What is observed.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject::container(&self.name)
    }

    /// Whether it is a job that has ended well: it is not expected to run.
    #[must_use]
    pub fn is_ended_job(&self) -> bool {
        self.is_job && self.state == "exited" && self.exit_code == Some(0)
    }

    /// Its part in its group, if it is in one.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.policy.as_ref().ok()?.membership()
    }

    /// Whether the container follows its local tag instead of a registry.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.policy.as_ref().is_ok_and(|policy| policy.commands.is_local)
    }
}

impl Running {
    /// All digests that identify the image: its digests, its manifest, and its ID, which is a
    /// digest on every image store.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<Digest> {
        let id = self.image_id.parse().ok();
        self.digests.iter().cloned().chain(self.manifest.clone()).chain(id).collect()
    }

    /// Whether an offered image is the running one, for example the same manifest behind a
    /// republished index.
    #[must_use]
    pub fn is(&self, offer: &Offer) -> bool {
        offer.has_id(&self.image_id)
            || self.manifest.as_ref() == Some(&offer.manifest)
            || self.digests.contains(&offer.manifest)
    }
}

/// What is known of the offer.
#[derive(Debug, Clone, PartialEq)]
pub enum Offered {
    /// The registry was not asked yet, or need not be asked.
    Unasked,
    /// The registry gave no answer.
    Unknown(LookupError),
    /// The digest that the tag points at.
    Digest(Digest),
    /// The same, resolved to the image for this platform.
    Image(Box<Offer>),
}

impl Offered {
    /// The version that the offered image states as its own.
    #[must_use]
    pub fn version(&self) -> Option<&ImageVersion> {
        match self {
            Self::Image(offer) => offer.version.as_ref(),
            Self::Unasked | Self::Unknown(_) | Self::Digest(_) => None,
        }
    }

    /// The digest that the tag points at, if it is known.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Unasked | Self::Unknown(_) => None,
            Self::Digest(digest) => Some(digest),
            Self::Image(offer) => Some(&offer.index),
        }
    }
}

/// The previous image of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Previous {
    /// No previous image is known.
    None,
    /// Its ID; the image is on this machine.
    Kept(String),
    /// Its ID; the image should be on this machine, and is not.
    Gone(String),
    /// Why the Engine gave no answer.
    Unknown(String),
}

/// An unfinished update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenUpdate {
    /// The update runs, or the next round continues it.
    InFlight,
    /// Several tries could neither finish nor undo it, for this reason. It is tried again.
    Stuck(String),
    /// The same, and the service does not run.
    Down(String),
    /// This agent did not begin it: another agent may be at work. It is watched until that is
    /// known.
    Elsewhere,
    /// A container has a name that an update needs, and nothing shows that this agent created it.
    Unproven,
}

/// What an update would meet.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The inspect document of the container.
    pub original: Value,
    /// The inspect document of its image.
    pub image: Value,
    /// What the inspect documents of all other containers say about their ties.
    pub others: Vec<Arc<Value>>,
    /// The `depends-on` labels of other containers.
    pub depends_on: DependsOn,
    /// Facts about each dependent of this container, by its ID.
    pub dependent_facts: BTreeMap<String, DependentFacts>,
    /// The API version with which the documents were read.
    pub api: ApiVersion,
    /// Whether the Engine can change a restart policy.
    pub can_update: bool,
    /// Whether the Engine unpacks layers packed with zstd.
    pub unpacks_zstd: bool,
    /// Free bytes where the Engine keeps images; `None` if that disk is not visible.
    pub free_bytes: Option<u64>,
    /// Whether the probe of the label succeeds on the running container.
    pub probe: Option<Result<(), String>>,
    /// What was seen of the lock of its label.
    pub lock: Option<SeenLock>,
    /// Files in the container's own layer that its creator seems to have declared.
    pub declared_files: Vec<String>,
    /// Files in the container's own layer that a person seems to have copied there.
    pub copied_files: Vec<String>,
    /// What the start needs, and what was seen of it.
    pub start_needs: Vec<CheckedRequirement>,
    /// Whether the offered image is already on this machine.
    pub is_pulled: bool,
    /// Whether the image has the name that keeps it until this container's window.
    pub is_prefetched: bool,
}

/// Facts about a container that depends on another one and would be recreated with it.
#[derive(Debug, Clone)]
pub struct DependentFacts {
    /// The inspect document of the container.
    pub original: Value,
    /// The inspect document of its image.
    pub image: Value,
    /// The other program that creates and replaces the container.
    pub manager: Option<Manager>,
    /// The parsed labels.
    pub selection: Selection,
    /// Whether this agent runs in the container.
    pub is_self: bool,
    /// What an earlier update left behind.
    pub open_update: Option<OpenUpdate>,
    /// Whether the probe of the label succeeds.
    pub probe: Option<Result<(), String>>,
    /// What was seen of the lock of its label.
    pub lock: Option<SeenLock>,
    /// Files in the container's own layer that its creator seems to have declared.
    pub declared_files: Vec<String>,
    /// What the start needs, and what was seen of it.
    pub start_needs: Vec<CheckedRequirement>,
}
