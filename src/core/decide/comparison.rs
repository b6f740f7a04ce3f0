//! Compares the offered image with the running one.

use super::{Circumstances, No};
use crate::core::decide::observation::{Observation, Offered};
use crate::core::decide::offer::{LookupError, Offer};
use crate::core::decide::origin::{Doubt, doubt, has_nothing};
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::Digest;
use crate::core::policy::Mode;
use crate::core::time::wall_clock::reading;

/// The result of comparing the offered image with the running one.
pub(super) enum Compared<'a> {
    Unasked,
    /// Nothing shows that the running image came from the repository that makes the offer.
    Unproven,
    Unresolved,
    Same,
    Republished(Digest),
    Failed(No),
    Refused(No),
    New(&'a Offer),
}

pub(super) fn compare<'a>(
    observation: &'a Observation,
    circumstances: &Circumstances,
) -> Compared<'a> {
    let Ok(running) = &observation.running else { return Compared::Unasked };
    let offer = match &observation.offered {
        Offered::Unasked => return Compared::Unasked,
        Offered::Unknown(error) if is_missing(observation, error) => {
            return doubted(observation)
                .unwrap_or_else(|| Compared::Failed(No::new(error.reason, error.detail.clone())));
        }
        Offered::Unknown(error) => {
            return Compared::Failed(No::new(error.reason, error.detail.clone()));
        }
        Offered::Digest(digest) if running.digests.contains(digest) => return Compared::Same,
        Offered::Digest(_) => {
            let no =
                refused(observation, circumstances).or_else(|| paused(observation, circumstances));
            return no
                .map(Compared::Refused)
                .or_else(|| doubted(observation))
                .or_else(|| held(observation, circumstances).map(Compared::Failed))
                .unwrap_or(Compared::Unresolved);
        }
        Offered::Image(offer) => offer,
    };
    let is_same = observation.is_local() && offer.has_id(&running.image_id);
    if is_same || running.digests.contains(&offer.index) {
        return Compared::Same;
    }
    if running.is(offer) {
        return Compared::Republished(offer.index.clone());
    }
    let no = refused(observation, circumstances).or_else(|| paused(observation, circumstances));
    no.map(Compared::Refused).or_else(|| doubted(observation)).unwrap_or(Compared::New(offer))
}

/// Whether the registry has nothing under this name.
fn is_missing(observation: &Observation, error: &LookupError) -> bool {
    observation.reference.as_ref().is_ok_and(|reference| has_nothing(error, reference))
}

/// What is known of the origin of the running image that forbids a comparison.
fn doubted<'a>(observation: &Observation) -> Option<Compared<'a>> {
    doubt(observation).map(|doubt| match doubt {
        Doubt::Open => Compared::Unproven,
        Doubt::Held(no) => Compared::Failed(no),
    })
}

fn refused(observation: &Observation, circumstances: &Circumstances) -> Option<No> {
    let refusal = observation.refusal.as_ref().filter(|_| !circumstances.force)?;
    let day = refusal.at.format("%Y-%m-%d %H:%M UTC");
    let offered = observation.offered.digest().map_or("the image", Digest::short);
    let detail = format!("{offered} failed on {day}: {}", refusal.detail);
    Some(No::new(Reason::RefusedDigest, detail))
}

/// The pause after failed tries. It does not hold if a person names the container.
fn paused(observation: &Observation, circumstances: &Circumstances) -> Option<No> {
    let Circumstances { now, zone, force, tries_at_once, .. } = circumstances;
    let failing = observation.failing.as_ref().filter(|_| !force && !tries_at_once)?;
    let next = failing.next_try(*now)?;
    let times = match failing.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let when = reading(next, zone).format("%a %d %b %H:%M");
    let detail = format!("{}; tried {times}, tried again {when}", failing.detail);
    Some(No { opens: Some(next), ..No::new(Reason::UpdateFailing, detail) })
}

/// The hold by the registry's quota. With `--force` a person may use what is left of it.
pub(super) fn held(observation: &Observation, circumstances: &Circumstances) -> Option<No> {
    let hold = observation.hold.as_ref().filter(|_| !circumstances.force)?;
    Some(No::new(Reason::RateLimited, hold.in_words()))
}

pub(super) fn is_notify(observation: &Observation) -> bool {
    observation.policy.as_ref().is_ok_and(|policy| policy.mode == Mode::Notify)
}
