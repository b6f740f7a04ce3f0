//! Whether the running image came from the registry of its name. Pilotfish replaces no image with
//! one from a registry that never had the running image, because an unrelated image can have the
//! same name.
//!
//! Proofs of the origin, the cheapest first: this agent's own record; a RepoDigest of exactly that
//! repository on Docker's classic image store, where only a pull or a push writes it; the registry,
//! if it knows the running digest under that name. On containerd's store, and with Podman, every
//! build and every `docker tag` gets a RepoDigest, so there it proves nothing.

use serde::{Deserialize, Serialize};

use super::comparison::{Compared, compare};
use super::{Circumstances, No};
use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Offered, Running};
use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::{DOCKER_HUB, Digest, Reference};
use crate::core::update::history::{Outcome, Record};

/// Most digests of one image that a registry is asked for. An image has one under a name, or two if
/// an index leads to its manifest; more come from tags made by hand.
const QUESTIONS_MAX: usize = 3;

/// Fewest hex digits that are read as an image ID. Three or fewer can be a name as well (`db`);
/// then the registry does not know the running digest.
const SHORT_ID_MIN: usize = 4;

/// The namespace of official images on Docker Hub. All of them are public.
const OFFICIAL: &str = "library/";

/// What is known of the origin of the running image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ImageOrigin {
    /// The registry was not asked yet.
    #[default]
    Unasked,
    /// It came from the registry of its name.
    Shown,
    /// The registry said so just now, or an older history does.
    ShownNow,
    /// The registry does not know the running image.
    Missing {
        /// What the tag pointed at then; absent if there was no such tag.
        offered: Option<Digest>,
    },
    /// The registry gave no answer.
    Unanswered(LookupError),
}

impl ImageOrigin {
    /// Whether it came from the registry of its name.
    #[must_use]
    pub const fn is_shown(&self) -> bool {
        matches!(self, Self::Shown | Self::ShownNow)
    }
}

/// What is remembered of an image and a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RememberedOrigin {
    /// This agent pulled it from that repository.
    Pulled,
    /// The registry has it under that name.
    Published,
    /// The registry did not have it while the tag pointed at this digest. The registry is asked
    /// again once the tag points elsewhere.
    Missing(Option<Digest>),
}

/// What the Engine reports of an image that says something about its origin.
#[derive(Debug, Clone, Copy)]
pub struct OriginTraces<'a> {
    /// The image as the user wrote it, parsed.
    pub reference: &'a Reference,
    pub image_id: &'a str,
    pub repo_digests: &'a [String],
    /// Whether only a pull or a push writes `RepoDigests`.
    pub is_classic: bool,
}

/// What is known without a request.
#[must_use]
pub fn known(traces: &OriginTraces<'_>, memory: &Memory) -> ImageOrigin {
    match memory.origin(traces.image_id, traces.reference) {
        Some(RememberedOrigin::Pulled | RememberedOrigin::Published) => ImageOrigin::Shown,
        _ if traces.is_classic && has_own_digest(traces) => ImageOrigin::Shown,
        Some(RememberedOrigin::Missing(offered)) => {
            ImageOrigin::Missing { offered: offered.clone() }
        }
        None => ImageOrigin::Unasked,
    }
}

/// An image ID that is among the digests is one of containerd's store.
fn has_own_digest(
    OriginTraces { reference, image_id, repo_digests, .. }: &OriginTraces<'_>,
) -> bool {
    let mut parsed = repo_digests.iter().filter_map(|name| name.parse::<Reference>().ok());
    parsed.any(|name| {
        name.same_repository(reference)
            && name.digest.is_some_and(|digest| digest.as_str() != *image_id)
    })
}

/// Whether the user wrote an image ID, whole or short: `1a2b3c4d` reads like a name of Docker Hub.
/// If an image has that name, it is a name.
#[must_use]
pub fn is_written_as_id(text: &str, image_id: &str, names: &[String]) -> bool {
    let digits = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_owned();
    let (short, whole) = (digits(text), digits(image_id));
    let is_name = names.iter().any(|name| name == text || *name == format!("{text}:latest"));
    short.len() >= SHORT_ID_MIN && whole.starts_with(&short) && !is_name
}

impl Observation {
    /// Whether an image of the registry may replace the running one.
    pub(super) fn has_shown_origin(&self) -> bool {
        self.policy.as_ref().is_ok_and(|policy| policy.is_from_registry)
            || self.running.as_ref().is_ok_and(|running| running.origin.is_shown())
    }
}

/// The digests under which the registry may know the running image, the likeliest first.
#[must_use]
pub fn digests_to_ask(running: &Running) -> Vec<Digest> {
    let mut digests: Vec<Digest> = running.digest.iter().cloned().collect();
    for digest in running.manifest.iter().chain(&running.digests) {
        if !digests.contains(digest) {
            digests.push(digest.clone());
        }
    }
    digests.truncate(QUESTIONS_MAX);
    digests
}

/// Whether a failed lookup means that the registry has nothing under this name. Without a login
/// Docker Hub does not say whether an image is missing or private, but no official image is
/// private. If the registry itself is out of reach, a mirror that lacks the name is enough, because
/// the offer comes from the mirror as well.
#[must_use]
pub fn has_nothing(error: &LookupError, reference: &Reference) -> bool {
    let is_official =
        reference.registry == DOCKER_HUB && reference.repository.starts_with(OFFICIAL);
    let is_hidden = error.reason == Reason::RegistryUnauthorized && error.is_anonymous;
    let is_behind_a_mirror =
        error.reason == Reason::RegistryUnreachable && error.is_missing_on_mirror;
    error.reason == Reason::NotFound || (is_official && is_hidden) || is_behind_a_mirror
}

/// Whether an update by this agent brought the running image, according to the history.
#[must_use]
pub fn was_pulled(
    history: &[Record],
    container: &str,
    reference: &Reference,
    running: &Running,
) -> bool {
    let is_it = |record: &&Record| {
        record.subject.is_container(container)
            && record.outcome == Outcome::Updated
            && record.to.as_ref().is_some_and(|to| running.identities().contains(to))
            && record.image.parse().is_ok_and(|image: Reference| image.same_repository(reference))
    };
    history.iter().any(|record| is_it(&record))
}

/// A doubt about the origin that forbids a comparison with the registry's offer.
pub(super) enum Doubt {
    /// The registry was not asked yet whether it knows the running image.
    Open,
    /// The image may not be replaced.
    Held(No),
}

/// Whether the running image came from the repository that offers another one.
pub(super) fn doubt(observation: &Observation) -> Option<Doubt> {
    if observation.is_local() || observation.has_shown_origin() {
        return None;
    }
    let running = observation.running.as_ref().ok()?;
    match &running.origin {
        ImageOrigin::Missing { offered } if offered.as_ref() == observation.offered.digest() => {
            Some(Doubt::Held(built_locally(observation)))
        }
        ImageOrigin::Unanswered(error) => {
            Some(Doubt::Held(No::new(error.reason, error.detail.clone())))
        }
        _ => Some(Doubt::Open),
    }
}

/// The same for a rollback by hand, where nothing was offered.
pub(super) fn check(observation: &Observation) -> Result<(), No> {
    let is_missing = |running: &Running| matches!(running.origin, ImageOrigin::Missing { .. });
    if observation.running.as_ref().is_ok_and(is_missing) && !observation.has_shown_origin() {
        return Err(built_locally(observation));
    }
    match doubt(observation) {
        None => Ok(()),
        Some(Doubt::Held(no)) => Err(no),
        Some(Doubt::Open) => Err(No::new(Reason::RegistryError, "the registry was not asked")),
    }
}

/// Whether the registry must be asked before a rollback by hand.
#[must_use]
pub fn is_open(observation: &Observation) -> bool {
    let is_unasked = |running: &Running| running.origin == ImageOrigin::Unasked;
    !observation.is_local()
        && !observation.has_shown_origin()
        && observation.running.as_ref().is_ok_and(is_unasked)
}

fn built_locally(observation: &Observation) -> No {
    let registry = observation.reference.as_ref().map_or("", |it| it.registry.as_str());
    let detail = match &observation.offered {
        Offered::Unknown(_) => {
            format!("{registry} has no image of this name, and not the one that runs")
        }
        _ => format!(
            "{registry} does not know the image that runs: it was built or tagged here, or its \
             digest was deleted there"
        ),
    };
    No::new(Reason::BuiltLocally, detail)
}

/// What a round learned about an image's origin that is worth remembering.
#[must_use]
pub fn news(observation: &Observation, circumstances: &Circumstances) -> Option<RememberedOrigin> {
    let running = observation.running.as_ref().ok()?;
    match &running.origin {
        ImageOrigin::Shown => return None,
        ImageOrigin::ShownNow => return Some(RememberedOrigin::Published),
        _ => {}
    }
    // If the tag of a name leads to the running image, the repository has the running image.
    let is_same = |compared| matches!(compared, Compared::Same | Compared::Republished(_));
    if !observation.is_local() && is_same(compare(observation, circumstances)) {
        return Some(RememberedOrigin::Published);
    }
    match &running.origin {
        ImageOrigin::Missing { offered } => Some(RememberedOrigin::Missing(offered.clone())),
        _ => None,
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
