//! What does not change while an ID stays the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;

use super::neighbours::Neighbours;
use super::quota::{Queue, Wanted};
use crate::core::decide::offer::Offer;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::policy::own_labels::{Labels, has_policy, policy_alone};
use crate::core::recreate::LIBPOD;
use crate::engine::{Engine, EngineError, Listed};

/// How many resolved offers are kept, the latest. Each saves a GET that a registry counts as a
/// pull, and a Pi follows some dozens of tags.
const OFFERS_MAX: usize = 500;

/// How many layers they may have together. Each is half a kilobyte, so that they take 4 MB at most.
const OFFERED_LAYERS_MAX: usize = 8000;

/// How many inspects are under way at once. An Engine on a Pi works on as many as it has cores;
/// more would only keep whoever else asks it waiting.
const INSPECTS_AT_ONCE: usize = 8;

/// What the agent knows from earlier rounds. Lost at a restart, and made again by one round.
#[derive(Debug, Default)]
pub struct Cache {
    containers: BTreeMap<String, Known>,
    images: BTreeMap<String, KnownImage>,
    offers: Offers,
    queue: Queue,
    /// Who may hang on whom, while a round lasts.
    pub(super) neighbours: Neighbours,
}

/// What an inspect said of a container.
#[derive(Debug, Clone)]
pub struct Known {
    /// The image as the user wrote it.
    pub image: String,
    /// The platform's manifest, where the Engine tells it (API 1.48, containerd image store).
    pub manifest: Option<Digest>,
    /// Whether Podman tells of it.
    pub is_podman: bool,
}

/// What an inspect said of an image.
#[derive(Debug, Clone)]
pub struct KnownImage {
    /// `REPOSITORY@DIGEST` for each digest that leads to it.
    pub repo_digests: Vec<String>,
    /// `REPOSITORY:TAG` for each tag that points at it.
    pub tags: Vec<String>,
    /// Its labels, as far as they say how a container is treated.
    pub labels: Labels,
    /// What it was built for.
    pub platform: Platform,
}

/// Why the Engine told nothing of some containers or images, by ID.
pub type Gaps = BTreeMap<String, String>;

impl Cache {
    /// Forgets containers and images that are gone.
    pub fn retain(&mut self, list: &[Listed]) {
        let ids: BTreeSet<_> = list.iter().map(|listed| listed.id.as_str()).collect();
        let images: BTreeSet<_> = list.iter().map(|listed| listed.image_id.as_str()).collect();
        self.containers.retain(|id, _| ids.contains(id.as_str()));
        self.images.retain(|id, _| images.contains(id.as_str()));
    }

    /// Asks the Engine for these containers and their images, each once, and several at a time.
    pub async fn learn<'a>(
        &mut self,
        engine: &impl Engine,
        listed: impl Iterator<Item = &'a Listed> + Clone,
    ) -> Gaps {
        let mut gaps = self.learn_containers(engine, listed.clone()).await;
        gaps.extend(self.learn_images(engine, listed.map(|it| it.image_id.as_str())).await);
        gaps
    }

    /// Asks the Engine for these containers, without their images.
    pub async fn learn_containers<'a>(
        &mut self,
        engine: &impl Engine,
        listed: impl Iterator<Item = &'a Listed>,
    ) -> Gaps {
        let ids = listed.map(|listed| listed.id.as_str());
        let unknown: BTreeSet<_> = ids.filter(|id| !self.containers.contains_key(*id)).collect();
        let inspect = async |id: &str| {
            let gone = || "the container was removed while it was looked at".to_owned();
            read(engine.inspect(id).await, gone, Known::of)
        };
        ask(unknown, inspect, &mut self.containers).await
    }

    /// Asks the Engine for these images.
    pub async fn learn_images<'a>(
        &mut self,
        engine: &impl Engine,
        ids: impl Iterator<Item = &'a str>,
    ) -> Gaps {
        let unknown: BTreeSet<_> = ids.filter(|id| !self.images.contains_key(*id)).collect();
        let inspect = async |id: &str| {
            let gone = || format!("the Engine no longer knows the image {id}");
            read(engine.inspect_image(id).await, gone, KnownImage::of)
        };
        ask(unknown, inspect, &mut self.images).await
    }

    /// Asks the Engine for the images of containers with labels that say how they are treated: to
    /// tell whose labels these are. All others are left alone.
    pub async fn learn_whose_labels(&mut self, engine: &impl Engine, list: &[Listed]) {
        let labelled = list.iter().filter(|listed| has_policy(&listed.labels));
        // What the Engine does not tell is said of each container where it is looked at.
        let _ = self.learn_images(engine, labelled.map(|it| it.image_id.as_str())).await;
    }

    /// The labels of a container's image, as far as they say how it is treated. `None` where they
    /// are not known and count.
    #[must_use]
    pub fn image_labels(&self, listed: &Listed) -> Option<&Labels> {
        static NONE: Labels = Labels::new();
        let known = self.images.get(&listed.image_id).map(|image| &image.labels);
        known.or_else(|| (!has_policy(&listed.labels)).then_some(&NONE))
    }

    /// What was learnt of images, beside what is known of neighbours.
    pub(super) const fn neighbours_and_images(
        &mut self,
    ) -> (&mut Neighbours, &BTreeMap<String, KnownImage>) {
        (&mut self.neighbours, &self.images)
    }

    /// A container that was learnt of.
    #[must_use]
    pub fn container(&self, id: &str) -> Option<&Known> {
        self.containers.get(id)
    }

    /// An image that was learnt of.
    #[must_use]
    pub fn image(&self, id: &str) -> Option<&KnownImage> {
        self.images.get(id)
    }

    /// The next look asks the Engine for this image again.
    pub fn forget_image(&mut self, id: &str) {
        self.images.remove(id);
    }

    /// The next look asks again for those of these images that have no digest: somebody may push
    /// or pull one by hand, and then it has.
    pub fn forget_unpublished<'a>(&mut self, ids: impl Iterator<Item = &'a str>) {
        for id in ids {
            if self.images.get(id).is_some_and(|image| image.repo_digests.is_empty()) {
                self.images.remove(id);
            }
        }
    }

    /// Who may hang on whom is found out anew: a round begins or is over.
    pub fn forget_neighbours(&mut self) {
        self.neighbours = Neighbours::default();
    }

    /// An offer that was resolved before.
    #[must_use]
    pub fn offer(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
    ) -> Option<&Offer> {
        self.offers.get(&(reference.clone(), digest.clone(), platform.to_string()))
    }

    /// Keeps a resolved offer.
    pub fn keep_offer(&mut self, reference: &Reference, platform: &Platform, offer: Offer) {
        self.offers.keep((reference.clone(), offer.index.clone(), platform.to_string()), offer);
    }

    /// Notes who may have to wait for a quota.
    pub fn queue<'a>(&mut self, waiting: impl Iterator<Item = &'a Wanted>, is_everybody: bool) {
        self.queue.update(waiting, is_everybody);
    }

    /// The place of an image among those that wait for a quota.
    #[must_use]
    pub fn place(&self, wanted: &Wanted) -> usize {
        self.queue.place(wanted)
    }
}

/// What an offer is found by: the tag, the digest it pointed at, the platform.
type OfferKey = (Reference, Digest, String);

/// Resolved offers, the oldest first.
#[derive(Debug, Default)]
struct Offers(VecDeque<(OfferKey, Offer)>);

impl Offers {
    fn get(&self, key: &OfferKey) -> Option<&Offer> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, offer)| offer)
    }

    /// Keeps an offer in the place of an earlier one of the same name, and lets the oldest go.
    fn keep(&mut self, key: OfferKey, offer: Offer) {
        self.0.retain(|(known, _)| *known != key);
        self.0.push_back((key, offer));
        let mut layers: usize = self.0.iter().map(|(_, offer)| offer.layers.len()).sum();
        while self.0.len() > OFFERS_MAX || (layers > OFFERED_LAYERS_MAX && self.0.len() > 1) {
            layers -= self.0.pop_front().map_or(0, |(_, offer)| offer.layers.len());
        }
    }
}

impl Known {
    fn of(document: &Value) -> Self {
        let manifest = inspect::text(document, "/ImageManifestDescriptor/digest").parse().ok();
        let is_podman = document.get(LIBPOD).is_some();
        Self { image: inspect::image_as_written(document).to_owned(), manifest, is_podman }
    }
}

impl KnownImage {
    fn of(document: &Value) -> Self {
        let names = |pointer| {
            let names = document.pointer(pointer).and_then(Value::as_array);
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let text = |pointer| inspect::text(document, pointer).to_owned();
        let (os, architecture, variant) = (text("/Os"), text("/Architecture"), text("/Variant"));
        Self {
            repo_digests: names("/RepoDigests"),
            tags: names("/RepoTags"),
            labels: policy_alone(inspect::labels(document)),
            platform: Platform { os, architecture, variant },
        }
    }
}

/// The few words of a document that are kept; the document itself goes at once.
fn read<T>(
    answer: Result<Option<Value>, EngineError>,
    gone: impl FnOnce() -> String,
    of: impl FnOnce(&Value) -> T,
) -> Result<T, String> {
    let document = answer.map_err(|error| error.to_string())?.ok_or_else(gone)?;
    Ok(of(&document))
}

/// Inspects what is unknown and keeps what was told; gives what was not.
async fn ask<T>(
    unknown: BTreeSet<&str>,
    inspect: impl AsyncFn(&str) -> Result<T, String>,
    known: &mut BTreeMap<String, T>,
) -> Gaps {
    let inspect = &inspect;
    let inspects = unknown.into_iter().map(|id| async move { (id, inspect(id).await) });
    let mut answers = stream::iter(inspects).buffer_unordered(INSPECTS_AT_ONCE);
    let mut gaps = Gaps::new();
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(facts) => drop(known.insert(id.to_owned(), facts)),
            Err(why) => drop(gaps.insert(id.to_owned(), why)),
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::offer::{Layer, Packing};

    fn offer(name: &str, layers: usize) -> Offer {
        let digest = Digest::of(name.as_bytes());
        let layer = Layer { digest: digest.clone(), size: 1, packing: Packing::Common };
        Offer {
            index: digest.clone(),
            manifest: digest.clone(),
            config: digest,
            platform: Platform::default(),
            layers: vec![layer; layers],
            diff_ids: Vec::new(),
        }
    }

    fn keep(cache: &mut Cache, name: &str, layers: usize) {
        let reference = name.parse().expect("a reference");
        cache.keep_offer(&reference, &Platform::default(), offer(name, layers));
    }

    fn knows(cache: &Cache, name: &str) -> bool {
        let reference = name.parse().expect("a reference");
        cache.offer(&reference, &Digest::of(name.as_bytes()), &Platform::default()).is_some()
    }

    #[test]
    fn the_oldest_offer_goes_first_and_not_the_first_by_name() {
        let mut cache = Cache::default();
        for number in 0..OFFERS_MAX {
            keep(&mut cache, &format!("z{number}"), 1);
        }
        keep(&mut cache, "a", 1);
        assert!(knows(&cache, "a") && knows(&cache, "z1") && !knows(&cache, "z0"));
        keep(&mut cache, "b", 1);
        assert!(knows(&cache, "a") && knows(&cache, "b") && !knows(&cache, "z1"));
    }

    #[test]
    fn offers_of_many_layers_are_fewer() {
        let mut cache = Cache::default();
        for number in 0..100 {
            keep(&mut cache, &format!("x{number}"), 127);
        }
        let layers: usize = cache.offers.0.iter().map(|(_, offer)| offer.layers.len()).sum();
        assert!(layers <= OFFERED_LAYERS_MAX, "{layers}");
        assert!(knows(&cache, "x99") && !knows(&cache, "x0"));
    }
}
