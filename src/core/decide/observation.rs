//! What is known of a watched container: facts only, no handles and no opinions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::core::decide::failed_tries::Failing;
use crate::core::decide::memory::Refusal;
use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::origin::ImageOrigin;
use crate::core::decide::quota::Hold;
use crate::core::decide::start_requirements::CheckedRequirement;
use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::reference::{Digest, Platform, Reference, ReferenceError};
use crate::core::policy::managers::Manager;
use crate::core::policy::{LabelError, Policy, Selection};
use crate::core::recreate::dependents::DependsOn;

/// What is known of one watched container. There may be thousands: what few of them have is boxed.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is the container in which this very agent runs.
    pub is_self: bool,
    /// `running`, `exited`, …, in the Engine's own words.
    pub state: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The same, parsed.
    pub reference: Result<Reference, ReferenceError>,
    /// Who else makes and replaces it.
    pub manager: Option<Manager>,
    /// Its labels, read.
    pub policy: Result<Policy, Vec<LabelError>>,
    /// What it runs on.
    pub running: Result<Running, String>,
    /// What the registry offers.
    pub offered: Offered,
    /// The registry's quota does not suffice for what this container needs next.
    pub hold: Option<Box<Hold>>,
    /// A refusal that the offered digest runs into.
    pub refusal: Option<Box<Refusal>>,
    /// Tries of the offered image that failed and did not judge it.
    pub failing: Option<Box<Failing>>,
    /// What a rollback by hand would go to.
    pub previous: Previous,
    /// What an earlier update of it left behind.
    pub open_update: Option<OpenUpdate>,
    /// What an update would meet; looked at only where one is due.
    pub readiness: Option<Box<Readiness>>,
}

/// What a container runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// The image's ID.
    pub image_id: String,
    /// Every digest that is known to lead to this image.
    pub digests: BTreeSet<Digest>,
    /// The digest that a person is shown: the one of the container's own repository.
    pub digest: Option<Digest>,
    /// The platform's manifest, where the Engine tells it (containerd image store).
    pub manifest: Option<Digest>,
    /// What the image was built for; empty until something else is offered, since only an inspect
    /// tells it.
    pub platform: Platform,
    /// Whether it came from the repository of its name.
    pub origin: ImageOrigin,
    /// The user wrote the image's ID, whole or short.
    pub is_written_as_id: bool,
}

impl Observation {
    /// Whether it follows its local tag, and no registry.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.policy.as_ref().is_ok_and(|policy| policy.commands.is_local)
    }
}

impl Running {
    /// Everything that identifies the image: its digests, its manifest, and its ID, which is a
    /// digest on every image store.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<Digest> {
        let id = self.image_id.parse().ok();
        self.digests.iter().cloned().chain(self.manifest.clone()).chain(id).collect()
    }

    /// Whether an offered image is the one that runs: the same manifest behind a republished
    /// index.
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
    /// Nobody asked yet, or nobody has to.
    Unasked,
    /// The registry gave no answer.
    Unknown(LookupError),
    /// What the tag points at.
    Digest(Digest),
    /// The same, down to the platform.
    Image(Box<Offer>),
}

impl Offered {
    /// What the tag points at, if that is known.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Unasked | Self::Unknown(_) => None,
            Self::Digest(digest) => Some(digest),
            Self::Image(offer) => Some(&offer.index),
        }
    }
}

/// The image before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Previous {
    /// There was none, as far as anybody knows.
    None,
    /// Its ID; it is on this machine.
    Kept(String),
    /// Its ID; it should be on this machine, and is not.
    Gone(String),
    /// Why the Engine did not tell.
    Unknown(String),
}

/// An update that was left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenUpdate {
    /// It is being carried out, or will be taken up at the next round.
    InFlight,
    /// Several tries could neither finish nor undo it, for this reason. It is tried again.
    Stuck(String),
    /// The same, and the service does not run.
    Down(String),
    /// It is none of this agent's: another one may be at work. It is watched until that is known.
    Elsewhere,
    /// A container bears a name that an update needs, and nothing shows that it is this agent's.
    Unproven,
}

/// What an update would meet.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// The container's inspect document.
    pub original: Value,
    /// Its image's.
    pub image: Value,
    /// What the inspect documents of all other containers tell of their ties.
    pub others: Vec<Arc<Value>>,
    /// What others ask for by a label.
    pub depends_on: DependsOn,
    /// What is known of each container that hangs on this one, by its ID.
    pub companions: BTreeMap<String, DependentFacts>,
    /// The API version the documents were read with.
    pub api: ApiVersion,
    /// Whether the Engine can change a restart policy.
    pub can_update: bool,
    /// Whether the Engine unpacks layers that are packed with zstd.
    pub unpacks_zstd: bool,
    /// Bytes free where the Engine keeps images; `None` where that is not visible.
    pub free_bytes: Option<u64>,
    /// Whether the probe of the label succeeds on the running container.
    pub probe: Option<Result<(), String>>,
    /// Files in the container's own layer that its creator seems to have declared.
    pub declared_files: Vec<String>,
    /// Files in the container's own layer that somebody seems to have copied there.
    pub copied_files: Vec<String>,
    /// What its start needs, and what was seen of it.
    pub start_needs: Vec<CheckedRequirement>,
    /// Whether the offered image is on this machine already.
    pub is_pulled: bool,
    /// Whether it bears the name under which it waits for this container's window.
    pub is_prefetched: bool,
}

/// What is known of a container that hangs on another one, and would be recreated with it.
#[derive(Debug, Clone)]
pub struct DependentFacts {
    /// Its inspect document.
    pub original: Value,
    /// Its image's.
    pub image: Value,
    /// Who else makes and replaces it.
    pub manager: Option<Manager>,
    /// Its labels, read.
    pub selection: Selection,
    /// Whether it is the container in which this very agent runs.
    pub is_self: bool,
    /// What an earlier update of it left behind.
    pub open_update: Option<OpenUpdate>,
    /// Whether the probe of its label succeeds.
    pub probe: Option<Result<(), String>>,
    /// Files in its own layer that its creator seems to have declared.
    pub declared_files: Vec<String>,
    /// What its start needs, and what was seen of it.
    pub start_needs: Vec<CheckedRequirement>,
}
