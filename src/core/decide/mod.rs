//! From facts to a decision: total, pure, and the only place where a rule about an update stands.
//!
//! `check`, `update --dry-run` and the agent print and carry out the same value.

// What stands before any registry is asked.
mod eligibility;
// How the offer compares with what runs.
mod comparison;
// Whether what runs came from the registry of its name.
pub mod origin;
// What hangs on a container, and is recreated with it.
mod dependents;
// The containers that the agent itself lives by.
mod self_protection;
// What no force overrides.
mod preconditions;
// What only a start needs of the machine.
pub mod start_requirements;
// What the windows say of an update that nothing else is in the way of.
mod windows;

// Who waits for a window, and which images that were fetched ahead are still wanted.
pub mod pending;
// What is known of a watched container.
pub mod observation;
// Who works on an Engine: the lock that belongs to it.
pub mod engine_lock;
// What a registry offers, and why it could not be asked.
pub mod offer;
// The closed list of reasons for a "no".
pub mod reason;
// Whether the layers of an image fit on the disk.
pub mod disk_space;
// Tries that failed before the image was judged, and the pauses between them.
pub mod failed_tries;
// Refused digests, tries that were cut short, digests known to be what runs.
pub mod memory;
// What a check says of one container: the words of table, JSON and metrics.
pub mod report;
// The agent as it stands.
pub mod snapshot;
// A registry's quota, and who may use up what is left of it.
pub mod quota;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::Value;

use comparison::{Compared, compare, held, is_notify};
pub use dependents::depends_on;
use dependents::{Follower, can_be_started, followers, member};
use eligibility::{Standing, standing};
use failed_tries::FailedTry;
use observation::{Observation, Readiness};
use offer::Offer;
use preconditions::safe;
use reason::Reason;
use self_protection::{engine_access, itself};
use windows::{Timing, timing};

use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::Mode;
use crate::core::recreate::Original;
use crate::core::time::window::Windows;
use crate::core::time::zone::Zone;
use crate::core::update::plan::{ImageSource, Member, Plan, PreviousImage};

/// What holds for a whole round.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The time of day.
    pub now: DateTime<Utc>,
    /// The zone in which windows are written.
    pub zone: Zone,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// A person insists: windows and refusals do not hold, safety does.
    pub force: bool,
    /// A person names the containers: a pause after tries that failed does not hold.
    pub tries_at_once: bool,
    /// The ID of the container in which the agent seems to run. One that joins another's network is
    /// told the other's.
    pub own_container: Option<String>,
    /// Where the Engine is reached over the network: a container may stand in between.
    pub engine_endpoint: Option<EngineEndpoint>,
    /// Another agent that holds this Engine, in words: then nothing is touched.
    pub other_agent: Option<String>,
    /// Where the agent keeps its state: a helper that updates the agent's own container needs it.
    pub state_dir: PathBuf,
}

/// `HOST:PORT` of an Engine that is reached over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A "no", with its word and its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    /// The word.
    pub reason: Reason,
    /// What exactly, in one sentence; may be empty where the word says it all.
    pub detail: String,
    /// When the window opens that it waits for; absent where no time changes anything.
    pub opens: Option<DateTime<Utc>>,
}

impl No {
    /// A "no" that no time changes.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), opens: None }
    }
}

/// An image to be fetched now, for an update that waits for its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The container's name.
    pub container: String,
    /// Its ID.
    pub container_id: String,
    /// The image as the user wrote it, parsed.
    pub reference: Reference,
    /// What is offered.
    pub offer: Offer,
    /// What the update itself waits for.
    pub waits: No,
}

impl Fetch {
    /// A try of it that failed.
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

/// What is to be done with a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// What runs is what is offered.
    UpToDate,
    /// What runs is what is offered, under a new digest that is worth remembering.
    Republished(Digest),
    /// There is something new, and nothing in its way.
    Update(Box<Plan>),
    /// The same, but it is the agent's own container: a helper carries it out.
    HandOver(Box<Plan>),
    /// The same, but it may not be replaced yet: the image is fetched and nothing else is touched.
    Fetch(Box<Fetch>),
    /// It stays as it is.
    No(No),
}

/// What else must be known before a decision can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Nothing.
    Nothing,
    /// What the tag points at.
    Digest,
    /// Whether the registry knows what runs.
    Origin,
    /// What is behind the digest.
    Image,
    /// What an update would meet.
    Readiness,
}

/// What to find out next. Each question costs more than the one before it, so each is asked only
/// where the answers so far leave it open.
#[must_use]
pub fn question(observation: &Observation, circumstances: &Circumstances) -> Question {
    if circumstances.other_agent.is_some() || standing(observation).is_err() {
        return Question::Nothing;
    }
    match compare(observation, circumstances) {
        Compared::Unasked => Question::Digest,
        Compared::Unproven => Question::Origin,
        Compared::Unresolved => Question::Image,
        Compared::New(_) if observation.readiness.is_none() && !is_notify(observation) => {
            Question::Readiness
        }
        _ => Question::Nothing,
    }
}

/// Decides.
#[must_use]
pub fn decide(observation: &Observation, circumstances: &Circumstances) -> Decision {
    match try_to_update(observation, circumstances) {
        Ok(decision) => decision,
        Err(no) => Decision::No(no),
    }
}

/// No other agent works on this Engine.
fn alone(circumstances: &Circumstances) -> Result<(), No> {
    let other = circumstances.other_agent.as_ref();
    other.map_or(Ok(()), |other| Err(No::new(Reason::AnotherAgent, other)))
}

fn try_to_update(observation: &Observation, circumstances: &Circumstances) -> Result<Decision, No> {
    alone(circumstances)?;
    let standing = standing(observation)?;
    let offer = match compare(observation, circumstances) {
        Compared::Same => return Ok(Decision::UpToDate),
        Compared::Republished(digest) => return Ok(Decision::Republished(digest)),
        Compared::Failed(no) | Compared::Refused(no) => return Err(no),
        Compared::Unasked | Compared::Unproven | Compared::Unresolved => {
            return Err(No::new(Reason::RegistryError, "the registry was not asked"));
        }
        Compared::New(offer) => offer,
    };
    if standing.policy.mode == Mode::Notify {
        return Err(No::new(Reason::NotifyOnly, format!("{} is offered", offer.index.short())));
    }
    let Some(readiness) = &observation.readiness else {
        return Err(No::new(Reason::EngineError, "the container could not be looked at"));
    };
    let followers = followers(readiness)?;
    safe(readiness, offer)?;
    // What could never be carried out is not fetched either.
    let plan = Planning { observation, standing: &standing, readiness, followers: &followers };
    let source = if observation.is_local() { ImageSource::Local } else { ImageSource::Registry };
    let plan = plan.plan((source, offer), circumstances)?;
    can_be_started(readiness, &followers)?;
    let hold = held(observation, circumstances).filter(|_| !readiness.is_pulled);
    match (timing(standing.policy, &followers, readiness, circumstances), hold) {
        (Timing::Later(no), _) | (_, Some(no)) => Err(no),
        (Timing::Now, None) if observation.is_self => Ok(Decision::HandOver(Box::new(plan))),
        (Timing::Now, None) => Ok(Decision::Update(Box::new(plan))),
        (Timing::FetchNow(waits), None) => {
            let Plan { main, reference, to: offer, .. } = plan;
            let Member { container, old_container: container_id, .. } = main;
            let fetch = Fetch { container, container_id, reference, offer, waits };
            Ok(Decision::Fetch(Box::new(fetch)))
        }
    }
}

/// Decides a rollback by hand to the image before, which is on this machine. Windows and refusals
/// do not hold for what a person asks for; safety does.
///
/// # Errors
/// The "no" that is in its way.
pub fn roll_back(
    observation: &Observation,
    readiness: &Readiness,
    kept: &Offer,
    circumstances: &Circumstances,
) -> Result<Plan, No> {
    alone(circumstances)?;
    let standing = standing(observation)?;
    origin::check(observation)?;
    let followers = followers(readiness)?;
    safe(readiness, kept)?;
    let plan = Planning { observation, standing: &standing, readiness, followers: &followers };
    let plan = plan.plan((ImageSource::Kept, kept), circumstances)?;
    can_be_started(readiness, &followers)?;
    Ok(plan)
}

/// Whether an update of this container, should it come to one now, would begin with a pull: known
/// before it is known what is behind the digest, so that the quota of its registry can be planned.
#[must_use]
pub fn will_pull(observation: &Observation, circumstances: &Circumstances) -> bool {
    let Circumstances { now, zone, pull_window, force, .. } = circumstances;
    !is_notify(observation) && (*force || pull_window.contains(*now, zone))
}

/// Everything that a plan is made from.
struct Planning<'a> {
    observation: &'a Observation,
    standing: &'a Standing<'a>,
    readiness: &'a Readiness,
    followers: &'a [Follower<'a>],
}

impl Planning<'_> {
    fn plan(
        &self,
        (source, offer): (ImageSource, &Offer),
        circumstances: &Circumstances,
    ) -> Result<Plan, No> {
        let (observation, readiness) = (self.observation, self.readiness);
        itself(observation, &readiness.original, circumstances)?;
        let followers = self.followers.iter().map(Follower::original);
        for original in followers.chain([&readiness.original]) {
            engine_access(original, circumstances)?;
        }
        let Standing { policy, reference, running } = *self.standing;
        let facts = Original {
            container: &readiness.original,
            image: &readiness.image,
            api: readiness.api,
        };
        let main = member(&facts, policy, readiness.can_update)
            .map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
        let main = Member {
            container: observation.name.clone(),
            old_container: observation.id.clone(),
            image: observation.image.clone(),
            ..main
        };
        let dependents = self.followers.iter().map(|follower| follower.member(readiness));
        let mut plan = Plan {
            id: Plan::make_id(&observation.name, circumstances.now),
            main,
            reference: reference.clone(),
            source,
            from: PreviousImage {
                image_id: running.image_id.clone(),
                digest: running.digest.clone(),
                digests: running.identities(),
            },
            to: offer.clone(),
            images_keep: policy.images_keep,
            dependents: dependents.collect::<Result<_, _>>()?,
        };
        // Hooks belong to updates: whoever goes back by hand wants what ran before, at once. And
        // there is no shell in the agent's own image.
        if source == ImageSource::Kept || observation.is_self {
            plan.forget_hooks();
        }
        Ok(plan)
    }
}

/// The inspect documents of a plan's dependents, in their order.
#[must_use]
pub fn originals(plan: &Plan, readiness: &Readiness) -> Vec<Value> {
    let of = |member: &Member| {
        let companion = readiness.companions.get(&member.old_container);
        companion.map_or(Value::Null, |companion| companion.original.clone())
    };
    plan.dependents.iter().map(of).collect()
}

#[cfg(test)]
mod dependents_tests;
#[cfg(test)]
pub(super) mod tests;
