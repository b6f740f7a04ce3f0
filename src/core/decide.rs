//! From facts to a decision: total, pure, and the only place where a rule about an update stands.
//!
//! `check`, `update --dry-run` and the agent print and carry out the same value.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::core::inspect;
use crate::core::manifest;
use crate::core::observation::{Observation, Offered, OpenUpdate, Readiness, Running};
use crate::core::offer::Offer;
use crate::core::plan::{From, Plan, Source};
use crate::core::policy::{Mode, Policy};
use crate::core::reason::Reason;
use crate::core::recreate::{self, Original, dependents};
use crate::core::reference::{Digest, Reference, ReferenceError};
use crate::core::space;
use crate::core::window::Windows;

/// What holds for a whole round.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The time of day.
    pub now: DateTime<Utc>,
    /// The zone in which windows are written.
    pub zone: Tz,
    /// When images may be pulled.
    pub pull_window: Windows,
    /// A person insists: windows and refusals do not hold, safety does.
    pub force: bool,
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
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), opens: None }
    }
}

/// An image to be fetched now, for an update that waits for its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The container's name.
    pub container: String,
    /// The image as the user wrote it, parsed.
    pub reference: Reference,
    /// What is offered.
    pub offer: Offer,
    /// What the update itself waits for.
    pub waits: No,
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
    /// What is behind the digest.
    Image,
    /// What an update would meet.
    Readiness,
}

/// What to find out next. Each question costs more than the one before it, so each is asked only
/// where the answers so far leave it open.
#[must_use]
pub fn question(observation: &Observation, circumstances: &Circumstances) -> Question {
    if standing(observation).is_err() {
        return Question::Nothing;
    }
    match compare(observation, circumstances) {
        Compared::Unasked => Question::Digest,
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

fn try_to_update(observation: &Observation, circumstances: &Circumstances) -> Result<Decision, No> {
    let standing = standing(observation)?;
    let offer = match compare(observation, circumstances) {
        Compared::Same => return Ok(Decision::UpToDate),
        Compared::Republished(digest) => return Ok(Decision::Republished(digest)),
        Compared::Failed(no) | Compared::Refused(no) => return Err(no),
        Compared::Unasked | Compared::Unresolved => {
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
    safe(standing.running, readiness, offer)?;
    // What could never be carried out is not fetched either.
    let plan = plan(observation, &standing, readiness, (Source::Registry, offer), circumstances)?;
    let hold = held(observation, circumstances).filter(|_| !readiness.is_pulled);
    match (timing(standing.policy, readiness, circumstances), hold) {
        (Timing::Later(no), _) | (_, Some(no)) => Err(no),
        (Timing::Now, None) => Ok(Decision::Update(Box::new(plan))),
        (Timing::FetchNow(waits), None) => {
            let Plan { container, reference, to: offer, .. } = plan;
            Ok(Decision::Fetch(Box::new(Fetch { container, reference, offer, waits })))
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
    let standing = standing(observation)?;
    safe(standing.running, readiness, kept)?;
    plan(observation, &standing, readiness, (Source::Kept, kept), circumstances)
}

/// What holds of a container that may be updated at all.
struct Standing<'a> {
    policy: &'a Policy,
    reference: &'a Reference,
    running: &'a Running,
}

/// What stands before any registry is asked.
fn standing(observation: &Observation) -> Result<Standing<'_>, No> {
    let policy = observation.policy.as_ref().map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        No::new(Reason::BadLabel, texts.join("; "))
    })?;
    match observation.open_update {
        Some(OpenUpdate::Stuck) => {
            return Err(No::new(Reason::Stuck, "three tries could not put it right"));
        }
        Some(OpenUpdate::Elsewhere) => {
            let detail = "a container of an update that this agent did not begin stands beside it";
            return Err(No::new(Reason::AnotherAgent, detail));
        }
        Some(OpenUpdate::InFlight) => {
            return Err(No::new(Reason::UpdateInFlight, "an update is being carried out"));
        }
        None => {}
    }
    if observation.is_self {
        let detail = "the agent runs in this container, and cannot stop itself and go on";
        return Err(No::new(Reason::CannotRecreate, detail));
    }
    if !matches!(observation.state.as_str(), "running" | "restarting") {
        let detail = format!("the container is {}", observation.state);
        return Err(No::new(Reason::NotRunning, detail));
    }
    let reference = observation.reference.as_ref().map_err(not_a_name)?;
    if let Some(digest) = &reference.digest {
        let detail = format!("the image is written with the digest {}", digest.short());
        return Err(No::new(Reason::PinnedByDigest, detail));
    }
    let running = observation
        .running
        .as_ref()
        .map_err(|error| No::new(Reason::EngineError, error.clone()))?;
    if running.digests.is_empty() {
        return Err(No::new(Reason::BuiltLocally, "the image has never been in a registry"));
    }
    Ok(Standing { policy, reference, running })
}

fn not_a_name(error: &ReferenceError) -> No {
    match error {
        ReferenceError::ImageId(_) => {
            No::new(Reason::PinnedByDigest, "the image is written as an ID")
        }
        other => No::new(Reason::CannotRecreate, format!("Config.Image: {other}")),
    }
}

/// How the offer compares with what runs.
enum Compared<'a> {
    Unasked,
    Unresolved,
    Same,
    Republished(Digest),
    Failed(No),
    Refused(No),
    New(&'a Offer),
}

fn compare<'a>(observation: &'a Observation, circumstances: &Circumstances) -> Compared<'a> {
    let Ok(running) = &observation.running else { return Compared::Unasked };
    let offer = match &observation.offered {
        Offered::Unasked => return Compared::Unasked,
        Offered::Unknown(error) => {
            return Compared::Failed(No::new(error.reason, error.detail.clone()));
        }
        Offered::Digest(digest) if running.digests.contains(digest) => return Compared::Same,
        Offered::Digest(_) => {
            let no = refused(observation, circumstances);
            return match no.map(Compared::Refused) {
                Some(refused) => refused,
                None => {
                    held(observation, circumstances).map_or(Compared::Unresolved, Compared::Failed)
                }
            };
        }
        Offered::Image(offer) => offer,
    };
    if running.digests.contains(&offer.index) {
        return Compared::Same;
    }
    if running.is(offer) {
        return Compared::Republished(offer.index.clone());
    }
    refused(observation, circumstances).map_or(Compared::New(offer), Compared::Refused)
}

fn refused(observation: &Observation, circumstances: &Circumstances) -> Option<No> {
    let refusal = observation.refusal.as_ref().filter(|_| !circumstances.force)?;
    let day = refusal.at.format("%Y-%m-%d %H:%M UTC");
    let offered = observation.offered.digest().map_or("the image", Digest::short);
    let detail = format!("{offered} failed on {day}: {}", refusal.detail);
    Some(No::new(Reason::RefusedDigest, detail))
}

/// What waits for the quota of its registry. A person who insists may spend what is left.
fn held(observation: &Observation, circumstances: &Circumstances) -> Option<No> {
    let hold = observation.hold.as_ref().filter(|_| !circumstances.force)?;
    Some(No::new(Reason::RateLimited, hold.in_words()))
}

fn is_notify(observation: &Observation) -> bool {
    observation.policy.as_ref().is_ok_and(|policy| policy.mode == Mode::Notify)
}

/// Whether an update of this container, should it come to one now, would begin with a pull: known
/// before it is known what is behind the digest, so that the quota of its registry can be planned.
#[must_use]
pub fn will_pull(observation: &Observation, circumstances: &Circumstances) -> bool {
    let Circumstances { now, zone, pull_window, force } = circumstances;
    !is_notify(observation) && (*force || pull_window.contains(*now, *zone))
}

/// What no force overrides.
fn safe(running: &Running, readiness: &Readiness, offer: &Offer) -> Result<(), No> {
    let hanging = dependents::dependents(&readiness.original, &readiness.others)
        .map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
    if let Some(first) = hanging.first() {
        let others = hanging.len() - 1;
        let more = if others > 0 { format!(", and {others} more") } else { String::new() };
        let detail = format!("{} {}{more}", first.name, first.how);
        return Err(No::new(Reason::HasDependents, detail));
    }
    if let Some(file) = readiness.declared_files.first() {
        let detail = format!(
            "{file} stands in the container's own layer, as an inline config or secret of Compose does"
        );
        return Err(No::new(Reason::CannotRecreate, detail));
    }
    if let Some(missing) = space::missing(readiness, offer) {
        return Err(No::new(Reason::DiskFull, missing));
    }
    if let Some(Err(detail)) = &readiness.probe {
        let detail = format!("the probe fails on the running container: {detail}");
        return Err(No::new(Reason::ProbeFailing, detail));
    }
    if !manifest::fits(&running.platform, &offer.platform) {
        let detail =
            format!("the image is for {}, this needs {}", offer.platform, running.platform);
        return Err(No::new(Reason::PlatformMissing, detail));
    }
    Ok(())
}

/// What the windows say of an update that nothing else is in the way of.
enum Timing {
    Now,
    FetchNow(No),
    Later(No),
}

/// A pull waits for its own window, a replacement for the container's. An image that is here needs
/// no pull; one that waits is given a name, so that nobody clears it away meanwhile.
fn timing(policy: &Policy, readiness: &Readiness, circumstances: &Circumstances) -> Timing {
    let Circumstances { now, zone, pull_window, force } = circumstances;
    let is_open = |windows: &Windows| *force || windows.contains(*now, *zone);
    let (update_window, is_pulled) = (&policy.update_window, readiness.is_pulled);
    match (is_pulled || is_open(pull_window), is_open(update_window)) {
        (true, true) => Timing::Now,
        (true, false) if is_pulled => {
            let no = closed(circumstances, "pulled; the update window", update_window);
            if readiness.is_kept_ahead { Timing::Later(no) } else { Timing::FetchNow(no) }
        }
        (true, false) => Timing::FetchNow(closed(
            circumstances,
            "to be pulled; the update window",
            update_window,
        )),
        (false, true) => Timing::Later(closed(circumstances, "the pull window", pull_window)),
        (false, false) => {
            let update = closed(circumstances, "the update window", update_window);
            let pull = closed(circumstances, "the pull window", pull_window);
            Timing::Later(No { detail: format!("{}, {}", pull.detail, update.detail), ..pull })
        }
    }
}

fn closed(circumstances: &Circumstances, what: &str, windows: &Windows) -> No {
    let Circumstances { now, zone, .. } = circumstances;
    let opens = windows.next_opening(*now, *zone);
    let when = opens.map_or_else(
        || "never opens".to_owned(),
        |at| format!("opens {}", at.with_timezone(zone).format("%a %d %b %H:%M")),
    );
    No { opens, ..No::new(Reason::OutsideWindow, format!("{what} {when}")) }
}

fn plan(
    observation: &Observation,
    standing: &Standing<'_>,
    readiness: &Readiness,
    (source, offer): (Source, &Offer),
    circumstances: &Circumstances,
) -> Result<Plan, No> {
    let Standing { policy, reference, running } = *standing;
    let cannot =
        |error: recreate::CannotRecreate| No::new(Reason::CannotRecreate, error.to_string());
    let original = &readiness.original;
    let facts = Original { container: original, image: &readiness.image, api: readiness.api };
    Ok(Plan {
        id: Plan::make_id(&observation.name, circumstances.now),
        container: observation.name.clone(),
        old_container: observation.id.clone(),
        image: observation.image.clone(),
        reference: reference.clone(),
        source,
        from: From {
            image_id: running.image_id.clone(),
            digest: running.digest.clone(),
            digests: running.identities(),
        },
        to: offer.clone(),
        recreation: recreate::recreate(&facts).map_err(cannot)?,
        restart_policy: recreate::restart_policy(original).map_err(cannot)?,
        health: policy.health.clone(),
        stop_timeout: inspect::stop_timeout(original),
        images_keep: policy.images_keep,
    })
}

#[cfg(test)]
#[path = "decide_tests.rs"]
pub(super) mod tests;
