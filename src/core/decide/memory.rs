//! What the agent remembers between rounds and across restarts: refused digests, interrupted tries,
//! and manifests that turned out to be the running image.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::decide::failed_tries::{FailedTry, Failing};
use crate::core::decide::origin::RememberedOrigin;
use crate::core::deployment::ClientAct;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::subject::{self, Subject};
use crate::core::update::history::Fault;

/// Most refused digests remembered per container; the oldest go first. A person who pushes a
/// hundred bad images in a row has noticed by then.
const REFUSALS_MAX: usize = 100;

/// After so many interrupted updates to one digest the digest is refused. An image that takes the
/// machine down with it is never judged, and must not be tried without a limit.
pub const INTERRUPTIONS_MAX: u32 = 3;

/// Most images with known digests that are kept; few of them are needed.
const KNOWN_MAX: usize = 500;

/// Most containers with failed tries; the oldest go first. No user runs more containers than this
/// on one machine and has all of them fail.
const FAILING_MAX: usize = 500;

/// Most hosts that are remembered because they spoke TLS; no Pi asks that many. The first ones
/// stay, because a list that changes in each round would be written in each round.
const TLS_HOSTS_MAX: usize = 200;

/// Most images whose origin is remembered: a Pi runs dozens.
const ORIGINS_MAX: usize = 500;

/// A digest that was judged bad for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// All digests that identify the image: the platform's manifest, to which a republished index
    /// leads as well; each index that was seen to lead there, so that the manifest is not requested
    /// again; the configuration.
    pub digests: BTreeSet<Digest>,
    pub at: DateTime<Utc>,
    pub detail: String,
}

/// Interrupted tries of one digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruptions {
    pub manifest: Digest,
    pub count: u32,
}

/// What counts as the running digest of a service whose specification names none: every node
/// resolves the tag for itself, so nobody knows what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssumedDigest {
    /// The image as in the specification.
    pub image: String,
    /// When the service was changed last, in the Swarm's words. After another change the tag is
    /// looked at anew.
    pub changed_at: String,
    /// What the tag pointed at in the agent's first look.
    pub digest: Digest,
}

impl AssumedDigest {
    /// Whether it still holds for a service.
    #[must_use]
    pub fn is_of(&self, image: &str, changed_at: &str) -> bool {
        self.image == image && self.changed_at == changed_at
    }
}

/// Everything the agent remembers. One file, which is replaced as a whole after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Refused digests, by subject.
    #[serde(default, with = "subject::keys")]
    pub refused: BTreeMap<Subject, Vec<Refusal>>,
    /// Interrupted tries, by subject.
    #[serde(default, with = "subject::keys")]
    pub interrupted: BTreeMap<Subject, Interruptions>,
    /// Tries that failed before the image was judged, by subject.
    #[serde(default, with = "subject::keys")]
    pub failing: BTreeMap<Subject, Failing>,
    /// The ID of the previous image, by subject.
    #[serde(default, with = "subject::keys")]
    pub previous: BTreeMap<Subject, String>,
    /// For each image ID, digests that lead to it although the Engine does not say so: a
    /// republished index, or an image whose tag has moved on the containerd image store.
    #[serde(default)]
    pub known: BTreeMap<String, BTreeSet<Digest>>,
    /// Registries that spoke TLS, as `HOST:PORT`, the latest last. They never get a login in clear
    /// text.
    #[serde(default)]
    pub tls_hosts: Vec<String>,
    /// What counts as the running digest, by service.
    #[serde(default, with = "subject::keys", skip_serializing_if = "BTreeMap::is_empty")]
    pub assumed: BTreeMap<Subject, AssumedDigest>,
    /// The pushes of images, by image ID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pushed: BTreeMap<String, ClientAct>,
    /// For each pushed image ID, the digests of its layers as its manifest names them. Only the
    /// containerd image store needs them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pushed_layers: BTreeMap<String, Vec<Digest>>,
    /// The containers of deployments that a client stopped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stopped: BTreeMap<String, ClientAct>,
    /// For each image ID and each repository (`docker.io/library/nginx`), whether the image came
    /// from that repository.
    #[serde(default)]
    pub origins: BTreeMap<String, BTreeMap<String, RememberedOrigin>>,
}

impl Memory {
    /// The refusal of an index or a manifest.
    #[must_use]
    pub fn refusal(&self, subject: &Subject, digest: &Digest) -> Option<&Refusal> {
        self.refused.get(subject)?.iter().find(|refusal| refusal.digests.contains(digest))
    }

    /// Refuses an image from now on, under each of its digests. An image that is already refused
    /// gets the new digests. Returns whether anything changed.
    pub fn refuse(&mut self, subject: &Subject, refusal: Refusal) -> bool {
        self.interrupted.remove(subject);
        self.failing.remove(subject);
        let refusals = self.refused.entry(subject.clone()).or_default();
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

    /// Forgets the refused digests of a container. Returns how many there were.
    pub fn allow(&mut self, subject: &Subject) -> usize {
        self.interrupted.remove(subject);
        self.failing.remove(subject);
        self.refused.remove(subject).map_or(0, |refusals| refusals.len())
    }

    /// The failed tries of an index or a manifest, for exactly this container.
    #[must_use]
    pub fn failing(&self, subject: &Subject, id: &str, digest: &Digest) -> Option<&Failing> {
        let failing = self.failing.get(subject)?;
        (failing.container_id == id && failing.digests.contains(digest)).then_some(failing)
    }

    /// Counts a failed try that says nothing about the image.
    pub fn fail(&mut self, subject: &Subject, failed: FailedTry) {
        match self.failing.get_mut(subject) {
            Some(failing) if failing.is_of(&failed) => failing.add(failed),
            _ => {
                self.failing.insert(subject.clone(), Failing::first(failed));
            }
        }
        while self.failing.len() > FAILING_MAX {
            let oldest = self.failing.iter().min_by_key(|(_, failing)| failing.at);
            let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) else { return };
            self.failing.remove(&oldest);
        }
    }

    /// Records how an update failed. Returns whether anything changed.
    ///
    /// A fault of the image refuses it. An update that was interrupted after the service was
    /// stopped is counted, so that an image that takes the machine down with it is refused in the
    /// end; so is a damaged copy, which is pulled again at once. A fault of the surroundings is
    /// tried again after a pause, because it says nothing about the image. `is_news` is false if
    /// the same failure was recorded before.
    pub fn note_failure(
        &mut self,
        subject: &Subject,
        fault: Fault,
        failed: FailedTry,
        is_news: bool,
    ) -> bool {
        let FailedTry { digests, at, detail, .. } = failed.clone();
        match fault {
            Fault::Image => self.refuse(subject, Refusal { digests, at, detail }),
            Fault::Surroundings if is_news => {
                self.fail(subject, failed);
                true
            }
            Fault::Interruption | Fault::DamagedCopy if is_news && failed.was_outage => {
                let refusal = Refusal { digests, at, detail };
                self.note_interruption(subject, &failed.manifest, refusal);
                true
            }
            Fault::Surroundings | Fault::Interruption | Fault::DamagedCopy => false,
            Fault::Person | Fault::Lock => false,
        }
    }

    /// Takes in an interrupted try. Enough of them refuse the image, so that no image is
    /// tried without end; `refusal` says which image, and why the last try ended.
    pub fn note_interruption(&mut self, subject: &Subject, manifest: &Digest, refusal: Refusal) {
        let count = self.interrupt(subject, manifest);
        if count >= INTERRUPTIONS_MAX {
            let why = refusal.detail;
            let detail = format!("{count} tries were interrupted, the last one: {why}");
            self.refuse(subject, Refusal { detail, ..refusal });
        }
    }

    /// Counts an interrupted try. Returns how many there have been for this digest.
    pub fn interrupt(&mut self, subject: &Subject, manifest: &Digest) -> u32 {
        let fresh = Interruptions { manifest: manifest.clone(), count: 0 };
        let entry = self.interrupted.entry(subject.clone()).or_insert_with(|| fresh.clone());
        if entry.manifest != *manifest {
            *entry = fresh;
        }
        entry.count += 1;
        entry.count
    }

    /// The container now runs another image. Forgets interrupted tries and any refusal of this
    /// image, because it proved itself. A rollback goes to the image before it.
    pub fn succeed(&mut self, subject: &Subject, digests: &BTreeSet<Digest>, previous: &str) {
        self.interrupted.remove(subject);
        self.failing.remove(subject);
        self.previous.insert(subject.clone(), previous.to_owned());
        if let Some(refusals) = self.refused.get_mut(subject) {
            refusals.retain(|refusal| refusal.digests.is_disjoint(digests));
        }
        self.refused.retain(|_, refusals| !refusals.is_empty());
    }

    /// Remembers that a digest leads to an image. Returns whether that is new.
    pub fn learn(&mut self, image_id: &str, digest: &Digest) -> bool {
        self.known.entry(image_id.to_owned()).or_default().insert(digest.clone())
    }

    /// Remembers who pushed an image.
    pub fn learn_push(&mut self, image_id: &str, act: ClientAct, layers: Vec<Digest>) {
        self.pushed.insert(image_id.to_owned(), act);
        if !layers.is_empty() {
            self.pushed_layers.insert(image_id.to_owned(), layers);
        }
    }

    /// Remembers hosts that spoke TLS. Returns whether one of them is new.
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

    /// Remembers where an image came from. `Pulled` is never replaced. Returns whether anything
    /// changed.
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

    /// Forgets images that no container runs any more, once there are many. Images that a rollback
    /// goes to are kept.
    pub fn tidy(&mut self, images_in_use: &BTreeSet<String>) {
        if self.origins.len() > ORIGINS_MAX {
            let previous: BTreeSet<_> = self.previous.values().cloned().collect();
            let is_needed =
                |image: &String| images_in_use.contains(image) || previous.contains(image);
            self.origins.retain(|image, _| is_needed(image));
        }
        if self.pushed.len() > KNOWN_MAX {
            let previous: BTreeSet<_> = self.previous.values().cloned().collect();
            let is_needed = |id: &String| images_in_use.contains(id) || previous.contains(id);
            self.pushed.retain(|id, _| is_needed(id));
            self.pushed_layers.retain(|id, _| is_needed(id));
        }
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|image, _| images_in_use.contains(image));
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
