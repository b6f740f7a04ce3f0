//! What the agent remembers between rounds and across restarts: refused digests, tries that were
//! cut short, and manifests that turned out to be what already runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::failed_tries::{FailedTry, Failing};
use crate::core::decide::origin::RememberedOrigin;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::update::history::Fault;

/// How many refused digests of one container are remembered; the oldest go first. A person who
/// pushes a hundred bad images in a row has noticed by then.
const REFUSALS_MAX: usize = 100;

/// How often an update to one digest may be cut short before the digest is refused: an image that
/// takes the machine down with it is never judged, and must not be tried for ever.
pub const INTERRUPTIONS_MAX: u32 = 3;

/// How many images this program's own record of digests may know; the least are needed.
const KNOWN_MAX: usize = 500;

/// How many containers may have tries that failed; the oldest go first. Nobody runs more containers
/// than this on one machine and has all of them fail.
const FAILING_MAX: usize = 500;

/// How many hosts that spoke TLS are remembered; no Pi asks as many. The first ones stay, because a
/// list that changes in each round would be written in each round.
const TLS_HOSTS_MAX: usize = 200;

/// Of how many images it is remembered where they came from: a Pi runs dozens.
const ORIGINS_MAX: usize = 500;

/// A digest that was judged bad for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Everything that identifies the image: the platform's manifest, which a republished index
    /// leads to as well; each index that was seen to lead there, so that the manifest need not be
    /// asked for again; the configuration.
    pub digests: BTreeSet<Digest>,
    /// When it was refused.
    pub at: DateTime<Utc>,
    /// Why.
    pub detail: String,
}

/// Tries of one digest that were cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruptions {
    /// The platform's manifest.
    pub manifest: Digest,
    /// How many there were.
    pub count: u32,
}

/// Everything that is remembered. One file, replaced as a whole when something changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Refused digests, by container.
    #[serde(default)]
    pub refused: BTreeMap<String, Vec<Refusal>>,
    /// Tries that were cut short, by container.
    #[serde(default)]
    pub interrupted: BTreeMap<String, Interruptions>,
    /// Tries that failed before the image was judged, by container.
    #[serde(default)]
    pub failing: BTreeMap<String, Failing>,
    /// The ID of the image before the present one, by container.
    #[serde(default)]
    pub previous: BTreeMap<String, String>,
    /// For each image ID, digests that are known to lead to it although the Engine does not say
    /// so: a republished index, or an image whose tag has moved on the containerd image store.
    #[serde(default)]
    pub known: BTreeMap<String, BTreeSet<Digest>>,
    /// Registries that spoke TLS, as `HOST:PORT`, the latest last: none of them is ever sent a
    /// login in clear.
    #[serde(default)]
    pub tls_hosts: Vec<String>,
    /// For each image ID and each repository (`docker.io/library/nginx`), whether the image came
    /// from there.
    #[serde(default)]
    pub origins: BTreeMap<String, BTreeMap<String, RememberedOrigin>>,
}

impl Memory {
    /// The refusal of an index or a manifest, if there is one.
    #[must_use]
    pub fn refusal(&self, container: &str, digest: &Digest) -> Option<&Refusal> {
        self.refused.get(container)?.iter().find(|refusal| refusal.digests.contains(digest))
    }

    /// Refuses an image from now on, under each of its digests. One that is refused already learns
    /// digests that are new. Says whether anything changed.
    pub fn refuse(&mut self, container: &str, refusal: Refusal) -> bool {
        self.interrupted.remove(container);
        self.failing.remove(container);
        let refusals = self.refused.entry(container.to_owned()).or_default();
        let is_it = |known: &&mut Refusal| !known.digests.is_disjoint(&refusal.digests);
        if let Some(known) = refusals.iter_mut().find(is_it) {
            let before = known.digests.len();
            known.digests.extend(refusal.digests);
            return known.digests.len() > before;
        }
        refusals.push(refusal);
        let surplus = refusals.len().saturating_sub(REFUSALS_MAX);
        refusals.drain(..surplus);
        true
    }

    /// Forgets the refused digests of a container. Gives how many there were.
    pub fn allow(&mut self, container: &str) -> usize {
        self.interrupted.remove(container);
        self.failing.remove(container);
        self.refused.remove(container).map_or(0, |refusals| refusals.len())
    }

    /// The tries that failed of an index or a manifest, for this very container.
    #[must_use]
    pub fn failing(&self, container: &str, id: &str, digest: &Digest) -> Option<&Failing> {
        let failing = self.failing.get(container)?;
        (failing.container_id == id && failing.digests.contains(digest)).then_some(failing)
    }

    /// Counts a try that failed, and that says nothing of the image.
    pub fn fail(&mut self, container: &str, failed: FailedTry) {
        match self.failing.get_mut(container) {
            Some(failing) if failing.is_of(&failed) => failing.add(failed),
            _ => {
                self.failing.insert(container.to_owned(), Failing::first(failed));
            }
        }
        while self.failing.len() > FAILING_MAX {
            let oldest = self.failing.iter().min_by_key(|(_, failing)| failing.at);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { return };
            self.failing.remove(&oldest);
        }
    }

    /// Takes in how an update failed, and says whether anything changed.
    ///
    /// The fault of an image refuses it. An update that was cut short after the service was stopped
    /// is counted, so that an image that takes the machine down with it is refused in the end; so
    /// is a damaged copy, which is pulled again at once. What the surroundings did is tried again
    /// after a pause: nothing was learned of the image. `is_news` is false where the same failure
    /// was taken in before.
    pub fn note_failure(
        &mut self,
        container: &str,
        fault: Fault,
        failed: FailedTry,
        is_news: bool,
    ) -> bool {
        let FailedTry { digests, at, detail, .. } = failed.clone();
        match fault {
            Fault::Image => self.refuse(container, Refusal { digests, at, detail }),
            Fault::Surroundings if is_news => {
                self.fail(container, failed);
                true
            }
            Fault::Interruption | Fault::DamagedCopy if is_news && failed.was_outage => {
                let refusal = Refusal { digests, at, detail };
                self.note_interruption(container, &failed.manifest, refusal);
                true
            }
            Fault::Surroundings | Fault::Interruption | Fault::DamagedCopy | Fault::Person => false,
        }
    }

    /// Takes in a try that was cut short. Enough of them refuse the image, so that no image is
    /// tried without end; `refusal` says which image, and why the last try ended.
    pub fn note_interruption(&mut self, container: &str, manifest: &Digest, refusal: Refusal) {
        let count = self.interrupt(container, manifest);
        if count >= INTERRUPTIONS_MAX {
            let why = refusal.detail;
            let detail = format!("{count} tries did not come to an end, the last one: {why}");
            self.refuse(container, Refusal { detail, ..refusal });
        }
    }

    /// Counts a try that was cut short, and gives how many there have been for this digest.
    pub fn interrupt(&mut self, container: &str, manifest: &Digest) -> u32 {
        let fresh = Interruptions { manifest: manifest.clone(), count: 0 };
        let entry = self.interrupted.entry(container.to_owned()).or_insert_with(|| fresh.clone());
        if entry.manifest != *manifest {
            *entry = fresh;
        }
        entry.count += 1;
        entry.count
    }

    /// The container runs on another image now: tries that were cut short are forgotten, and so is
    /// a refusal of the image that proved itself. The image before it is what a rollback goes to.
    pub fn succeed(&mut self, container: &str, digests: &BTreeSet<Digest>, previous: &str) {
        self.interrupted.remove(container);
        self.failing.remove(container);
        self.previous.insert(container.to_owned(), previous.to_owned());
        if let Some(refusals) = self.refused.get_mut(container) {
            refusals.retain(|refusal| refusal.digests.is_disjoint(digests));
        }
        self.refused.retain(|_, refusals| !refusals.is_empty());
    }

    /// Remembers that a digest leads to an image. Says whether that is news.
    pub fn learn(&mut self, image_id: &str, digest: &Digest) -> bool {
        self.known.entry(image_id.to_owned()).or_default().insert(digest.clone())
    }

    /// Remembers hosts that spoke TLS. Says whether one of them is news.
    pub fn learn_tls(&mut self, hosts: impl IntoIterator<Item = String>) -> bool {
        let mut is_news = false;
        for host in hosts {
            if self.tls_hosts.len() < TLS_HOSTS_MAX && !self.tls_hosts.contains(&host) {
                self.tls_hosts.push(host);
                is_news = true;
            }
        }
        is_news
    }

    /// What is remembered of an image and the repository of this reference.
    #[must_use]
    pub fn origin(&self, image_id: &str, reference: &Reference) -> Option<&RememberedOrigin> {
        self.origins.get(image_id)?.get(&reference.full_name())
    }

    /// Remembers where an image came from. What this agent pulled stays that. Says whether it is
    /// news.
    pub fn learn_origin(
        &mut self,
        image_id: &str,
        reference: &Reference,
        known: RememberedOrigin,
    ) -> bool {
        let of_image = self.origins.entry(image_id.to_owned()).or_default();
        let before = of_image.get(&reference.full_name());
        if before == Some(&RememberedOrigin::Pulled) || before == Some(&known) {
            return false;
        }
        of_image.insert(reference.full_name(), known);
        true
    }

    /// Forgets images that nobody runs any more, once there are many. Those that a rollback goes
    /// to are not forgotten.
    pub fn tidy(&mut self, images_in_use: &BTreeSet<String>) {
        if self.origins.len() > ORIGINS_MAX {
            let previous: BTreeSet<_> = self.previous.values().cloned().collect();
            let is_needed =
                |image: &String| images_in_use.contains(image) || previous.contains(image);
            self.origins.retain(|image, _| is_needed(image));
        }
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|image, _| images_in_use.contains(image));
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
