//! What the rounds so far mean for later: which containers wait for a window, and which of the
//! images fetched ahead of a window are still wanted.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::decide::Decision;
use crate::core::decide::observation::{Observation, Offered};
use crate::core::decide::offer::Offer;
use crate::core::decide::reason::Reason;
use crate::core::docker::names;

/// The pause before another try if a window has opened and the registry gave no answer. The
/// schedule may be a day away, and the window closed by then.
const RETRY_INTERVAL: TimeDelta = TimeDelta::minutes(5);

/// Most such tries for one opening. After half an hour the container waits for the schedule again.
const RETRIES_MAX: u32 = 6;

/// An image that was fetched ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchedImage {
    /// The name that keeps it, `pilotfish-next/NAME:…`.
    pub name: String,
    pub image_id: String,
}

/// When the window opens for which a container waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowOpening {
    at: DateTime<Utc>,
    retries: u32,
}

/// The image that was fetched ahead for one container and is still wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WantedImage {
    /// The registry gave no answer.
    Unknown,
    Nothing,
    Image(Box<Offer>),
}

impl WantedImage {
    fn of(observation: &Observation, decision: &Decision) -> Self {
        let is_useless = |reason| matches!(reason, Reason::RefusedDigest | Reason::NotifyOnly);
        match (decision, &observation.offered) {
            (_, Offered::Unasked | Offered::Unknown(_)) => Self::Unknown,
            (Decision::UpToDate | Decision::Republished(_), _) => Self::Nothing,
            (Decision::No(no), _) if is_useless(no.reason) => Self::Nothing,
            (_, Offered::Digest(_)) => Self::Unknown,
            (_, Offered::Image(offer)) => Self::Image(offer.clone()),
        }
    }

    fn includes(&self, image_id: &str) -> bool {
        match self {
            Self::Unknown => true,
            Self::Nothing => false,
            Self::Image(offer) => offer.has_id(image_id),
        }
    }
}

/// Waiting containers and wanted images, by container.
#[derive(Debug, Clone, Default)]
pub struct PendingUpdates {
    openings: BTreeMap<String, WindowOpening>,
    wanted: BTreeMap<String, WantedImage>,
}

impl PendingUpdates {
    /// Records a decision about a container. A container that waited for a window and could not be
    /// checked continues to wait.
    pub fn note(&mut self, observation: &Observation, decision: &Decision) {
        let name = &observation.name;
        self.wanted.insert(name.clone(), WantedImage::of(observation, decision));
        let no = match decision {
            Decision::Fetch(fetch) => Some(&fetch.waits),
            Decision::No(no) => Some(no),
            Decision::UpToDate | Decision::Republished(_) => None,
            Decision::Update(_) | Decision::HandOver(_) | Decision::Together(_) => None,
        };
        if let Some(at) = no.and_then(|no| no.opens) {
            self.wait(name, at);
        } else if !no.is_some_and(|no| no.reason.is_error()) {
            self.openings.remove(name);
        }
    }

    /// Makes a container due at this time.
    pub fn wait(&mut self, container: &str, at: DateTime<Utc>) {
        self.openings.insert(container.to_owned(), WindowOpening { at, retries: 0 });
    }

    /// Forgets containers that are no longer watched.
    pub fn retain(&mut self, watched: &BTreeSet<String>) {
        self.openings.retain(|name, _| watched.contains(name));
        self.wanted.retain(|name, _| watched.contains(name));
    }

    /// Which containers are due at which time, independent of their schedule.
    pub fn openings(&self) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        self.openings.iter().map(|(name, opening)| (name.as_str(), opening.at))
    }

    /// To be called after a round. A container that was due in it and still waits could not be
    /// checked, so it is tried again soon, a few times.
    pub fn put_off(&mut self, now: DateTime<Utc>) {
        for opening in self.openings.values_mut().filter(|opening| opening.at <= now) {
            *opening = WindowOpening { at: now + RETRY_INTERVAL, retries: opening.retries + 1 };
        }
        self.openings.retain(|_, opening| opening.retries <= RETRIES_MAX);
    }

    /// The images that no container waits for: a newer one exists by now, or the container is no
    /// longer among the `owners`.
    #[must_use]
    pub fn superseded(
        &self,
        images: Vec<PrefetchedImage>,
        owners: &BTreeSet<String>,
    ) -> Vec<PrefetchedImage> {
        let by_repository: BTreeMap<String, &String> =
            owners.iter().map(|owner| (names::next_repository(owner), owner)).collect();
        let is_wanted = |image: &PrefetchedImage| {
            let repository = image.name.rsplit_once(':').map_or("", |(repository, _)| repository);
            by_repository.get(repository).is_some_and(|owner| {
                self.wanted.get(*owner).is_none_or(|wanted| wanted.includes(&image.image_id))
            })
        };
        images.into_iter().filter(|image| !is_wanted(image)).collect()
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
