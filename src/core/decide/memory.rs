//! What the agent remembers between rounds and across restarts: refused digests, tries that were
//! cut short, and manifests that turned out to be what already runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;

/// How many refused digests of one container are remembered; the oldest go first. A person who
/// pushes a hundred bad images in a row has noticed by then.
const REFUSALS_MAX: usize = 100;

/// How often an update to one digest may be cut short before the digest is refused: an image that
/// takes the machine down with it is never judged, and must not be tried for ever.
pub const INTERRUPTIONS_MAX: u32 = 3;

/// How many images this program's own record of digests may know; the least are needed.
const KNOWN_MAX: usize = 500;

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
    /// The ID of the image before the present one, by container.
    #[serde(default)]
    pub previous: BTreeMap<String, String>,
    /// For each image ID, digests that are known to lead to it although the Engine does not say
    /// so: a republished index, or an image whose tag has moved on the containerd image store.
    #[serde(default)]
    pub known: BTreeMap<String, BTreeSet<Digest>>,
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
        self.refused.remove(container).map_or(0, |refusals| refusals.len())
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

    /// Forgets images that nobody runs any more, once there are many.
    pub fn tidy(&mut self, images_in_use: &BTreeSet<String>) {
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|image, _| images_in_use.contains(image));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn refusal(digests: &[&str]) -> Refusal {
        let digests = digests.iter().map(|text| digest(text)).collect();
        Refusal { digests, at: DateTime::UNIX_EPOCH, detail: "exited".into() }
    }

    #[test]
    fn a_refusal_holds_for_the_manifest_and_every_index_that_led_to_it() {
        let mut memory = Memory::default();
        assert!(memory.refuse("till", refusal(&["manifest", "index 1"])));
        assert!(memory.refuse("till", refusal(&["manifest", "index 2"])));
        assert!(!memory.refuse("till", refusal(&["manifest", "index 2"])));
        for known in ["manifest", "index 1", "index 2"] {
            assert!(memory.refusal("till", &digest(known)).is_some(), "{known}");
        }
        assert!(memory.refusal("till", &digest("other")).is_none());
        assert!(memory.refusal("other", &digest("manifest")).is_none());
        assert_eq!(memory.allow("till"), 1);
        assert!(memory.refusal("till", &digest("manifest")).is_none());
    }

    #[test]
    fn an_image_that_proved_itself_is_no_longer_refused() {
        let mut memory = Memory::default();
        memory.refuse("till", refusal(&["a"]));
        memory.refuse("till", refusal(&["b"]));
        memory.succeed("till", &BTreeSet::from([digest("b")]), "sha256:before");
        assert!(memory.refusal("till", &digest("a")).is_some());
        assert!(memory.refusal("till", &digest("b")).is_none());
        assert_eq!(memory.previous["till"], "sha256:before");
    }

    #[test]
    fn refusals_are_bounded() {
        let mut memory = Memory::default();
        for number in 0..300 {
            memory.refuse("till", refusal(&[&number.to_string()]));
        }
        assert_eq!(memory.refused["till"].len(), REFUSALS_MAX);
        assert!(memory.refusal("till", &digest("299")).is_some());
    }

    #[test]
    fn interruptions_are_counted_per_digest() {
        let mut memory = Memory::default();
        assert_eq!(memory.interrupt("till", &digest("a")), 1);
        assert_eq!(memory.interrupt("till", &digest("a")), 2);
        assert_eq!(memory.interrupt("till", &digest("b")), 1);
        memory.succeed("till", &BTreeSet::new(), "sha256:before");
        assert_eq!(memory.interrupt("till", &digest("b")), 1);
    }

    #[test]
    fn an_older_file_without_a_table_is_read() {
        let memory: Memory = serde_json::from_str("{}").expect("an empty memory");
        assert_eq!(memory, Memory::default());
    }
}
