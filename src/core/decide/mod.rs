//! Turns facts into a decision. This is the only place that holds rules about updates.
//!
//! `check`, `update --dry-run` and the agent print and carry out the same value.

// Checks before any registry is asked.
mod eligibility;
// Compares the offered image with the running one.
mod comparison;
// Whether the running image came from the registry of its name.
pub mod origin;
// The containers that depend on a container and are recreated with it.
mod dependents;
// The containers that the agent needs itself.
mod self_protection;
// Images that clients push.
pub mod push;
// Safety checks that no force overrides.
mod preconditions;
// Whether two of a container can run at the same time.
mod start_first;
// Makes a plan from everything that is known.
mod planning;
// What only the start of a container needs from the machine.
pub mod start_requirements;
// Update windows and pull windows.
pub mod windows;
// The path in a container that holds its updates while it exists.
pub mod update_lock;
// Members of a group that are not replaced, and have their say.
mod group_guards;
// One plan for all members of a group.
pub mod group;

// The fleet's say in an update.
pub mod fleet_turn;
// Containers that wait for a window, and images that were fetched ahead and are still wanted.
pub mod pending;
// A "no" with its reason and details.
mod no;
// What is known of a watched container.
pub mod observation;
// What must still be found out about it, and what that costs.
pub mod evidence;
// The lock of the Engine: which agent works on it.
pub mod engine_lock;
// What a registry offers, and why it could not be asked.
pub mod offer;
// The closed list of reasons for a "no", and what to do about each.
pub mod reason;
mod advice;
// Whether the layers of an image fit on the disk.
pub mod disk_space;
// Tries that failed before the image was judged, and the pauses between them.
pub mod failed_tries;
// Refused digests, interrupted tries, digests known to be the running image.
pub mod memory;
// What a check says about one container, for table, JSON and metrics.
pub mod report;
// The versions of two images, as people read them.
pub mod versions;
// The state of the agent.
pub mod snapshot;
// A registry's quota, and which containers may use what is left of it.
pub mod quota;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::Value;

use comparison::{Compared, compare};
pub use dependents::depends_on;
use dependents::{can_be_started, followers};
use eligibility::eligible;
use failed_tries::FailedTry;
pub use no::No;
use observation::{Observation, Readiness};
use offer::Offer;
use planning::Planning;
use preconditions::safe;
use reason::Reason;
use update_lock::unlocked;
use windows::{Timing, timing};

use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::Mode;
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;
use crate::core::update::plan::{ImageSource, Member, Plan};

/// Facts and settings that hold for a whole round.
#[derive(Debug, Clone)]
pub struct Circumstances {
    pub now: DateTime<Utc>,
    /// The zone in which windows are written.
    pub zone: Zone,
    pub pull_window: Windows,
    /// A person insists (`--force`): windows and refusals do not count, safety does.
    pub force: bool,
    /// A person names the containers: the pause after failed tries does not count.
    pub tries_at_once: bool,
    /// The ID of the container in which the agent seems to run. An agent in another container's
    /// network sees the ID of that container.
    pub own_container: Option<String>,
    /// The address of an Engine that is reached over the network. A container may be the proxy
    /// there.
    pub engine_endpoint: Option<EngineEndpoint>,
    /// Another agent that holds this Engine, in words. Then nothing is touched.
    pub other_agent: Option<String>,
    /// The agent's state directory. A helper that updates the agent's own container needs it.
    pub state_dir: PathBuf,
}

/// `HOST:PORT` of an Engine that is reached over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

/// An image to fetch now, for an update that waits for its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    pub container: String,
    pub container_id: String,
    /// The image as the user wrote it, parsed.
    pub reference: Reference,
    pub offer: Offer,
    /// Why the update itself waits.
    pub waits: No,
}

impl Fetch {
    /// A failed try of this fetch.
    #[must_use]
    pub fn failed_try(&self, detail: String, at: DateTime<Utc>) -> FailedTry {
        FailedTry {
            manifest: self.offer.manifest.clone(),
            digests: self.offer.digests(),
            container_id: self.container_id.clone(),
            at,
            was_outage: false,
            detail,
        }
    }
}

/// The part of a container in the update of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    pub group: String,
    /// The member whose decision has the plan.
    pub lead: String,
}

/// What to do with a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The running image is the offered one.
    UpToDate,
    /// The running image is the offered one, under a new digest that is worth remembering.
    Republished(Digest),
    /// There is a new image, and nothing forbids the update.
    Update(Box<Plan>),
    /// The same for the agent's own container: a self-update helper carries it out.
    HandOver(Box<Plan>),
    /// The container takes part in the update of its group, which another member carries.
    Together(Box<Together>),
    /// There is a new image, but the container may not be replaced yet: only the image is fetched.
    Fetch(Box<Fetch>),
    /// The container stays as it is.
    No(No),
}

impl Decision {
    /// The name of the group whose plan this decision has.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Update(plan) => plan.subject.group_name(),
            _ => None,
        }
    }
}

/// Decides what to do with a container.
#[must_use]
pub fn decide(observation: &Observation, circumstances: &Circumstances) -> Decision {
    match try_to_update(observation, circumstances) {
        Ok(decision) => decision,
        Err(no) => Decision::No(no),
    }
}

/// Checks that no other agent works on this Engine.
fn alone(circumstances: &Circumstances) -> Result<(), No> {
    let other = circumstances.other_agent.as_ref();
    other.map_or(Ok(()), |other| Err(No::new(Reason::AnotherAgent, other)))
}

fn try_to_update(observation: &Observation, circumstances: &Circumstances) -> Result<Decision, No> {
    alone(circumstances)?;
    let eligible = eligible(observation)?;
    push::followed(observation)?;
    let offer = match compare(observation, circumstances) {
        Compared::Same => return Ok(Decision::UpToDate),
        Compared::Republished(digest) => return Ok(Decision::Republished(digest)),
        Compared::Failed(no) | Compared::Refused(no) => return Err(no),
        Compared::Unasked | Compared::Unproven | Compared::Unresolved => {
            return Err(No::new(Reason::RegistryError, "the registry was not asked"));
        }
        Compared::New(offer) => offer,
    };
    if eligible.policy.mode == Mode::Notify {
        return Err(No::new(Reason::NotifyOnly, format!("{} is offered", offer.index.short())));
    }
    let Some(readiness) = &observation.readiness else {
        return Err(No::new(Reason::EngineError, "the container could not be looked at"));
    };
    let followers = followers(readiness)?;
    safe(readiness, offer)?;
    // An image that could never be used is not fetched either.
    let plan = Planning::of(observation, &eligible, readiness, &followers);
    let source = if observation.is_local() { ImageSource::Local } else { ImageSource::Registry };
    let plan = plan.plan((source, offer), circumstances)?;
    can_be_started(readiness, &followers)?;
    let timing = timing(eligible.policy, &followers, readiness, circumstances);
    let locked = unlocked(readiness, &followers, circumstances).err();
    let timing = match (timing, locked) {
        // The pull goes on.
        (Timing::Now, Some(no)) if readiness.is_prefetched => Timing::Later(no),
        (Timing::Now, Some(no)) => Timing::FetchNow(no),
        (timing, _) => timing,
    };
    match timing {
        Timing::Later(no) => Err(no),
        Timing::Now if observation.is_self => Ok(Decision::HandOver(Box::new(plan))),
        Timing::Now => Ok(Decision::Update(Box::new(plan))),
        Timing::FetchNow(waits) => {
            let fetch = Fetch {
                container: observation.name.clone(),
                container_id: observation.id.clone(),
                reference: eligible.reference.clone(),
                offer: offer.clone(),
                waits,
            };
            Ok(Decision::Fetch(Box::new(fetch)))
        }
    }
}

/// Decides a rollback by hand to the previous image, which is on this machine. Windows and refusals
/// do not hold because a person asks for it; safety does.
///
/// # Errors
/// The "no" that forbids it.
pub fn roll_back(
    observation: &Observation,
    readiness: &Readiness,
    kept: &Offer,
    circumstances: &Circumstances,
) -> Result<Plan, No> {
    alone(circumstances)?;
    let eligible = eligible(observation)?;
    if observation.deployment.is_none() {
        origin::check(observation)?;
    }
    let followers = followers(readiness)?;
    safe(readiness, kept)?;
    let plan = Planning::of(observation, &eligible, readiness, &followers);
    let plan = plan.plan((ImageSource::Kept, kept), circumstances)?;
    can_be_started(readiness, &followers)?;
    unlocked(readiness, &followers, circumstances)?;
    Ok(plan)
}

/// The inspect documents of a plan's old containers, in the order of its members.
#[must_use]
pub fn originals(plan: &Plan, readiness: &Readiness) -> Vec<Value> {
    let of = |member: &Member| {
        if member.old_container == inspect::id(&readiness.original) {
            return readiness.original.clone();
        }
        let dependent = readiness.dependent_facts.get(&member.old_container);
        dependent.map_or(Value::Null, |dependent| dependent.original.clone())
    };
    plan.all().map(of).collect()
}

#[cfg(test)]
mod dependents_tests;
#[cfg(test)]
mod push_tests;
#[cfg(test)]
pub(super) mod tests;
