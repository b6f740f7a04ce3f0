//! Facts that stay the same as long as an ID stays the same, if the list of containers does not
//! contain them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::Value;

use super::quota::{Queue, QuotaRequest};
use crate::core::decide::offer::Offer;
use crate::core::docker::image_version::StatedVersion;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::policy::own_labels::{Labels, has_policy, policy_alone};
use crate::core::recreate::LIBPOD;
use crate::engine::{CreatedFrom, Engine, EngineError, ImageFacts, Listed};

/// How many resolved offers are kept; the oldest go first. Each saves a GET that a registry counts
/// as a pull, and a Pi follows some dozens of tags.
const OFFERS_MAX: usize = 500;

/// How many layers the offers may have together. Each is half a kilobyte, so all together are 4 MB
/// at most.
const OFFERED_LAYERS_MAX: usize = 8000;

/// How many inspects run at once. An Engine on a Pi works on as many as it has cores; more would
/// only delay the Engine's other clients.
const INSPECTS_AT_ONCE: usize = 8;

/// Up to this many images are inspected one by one. For more, the list of all images costs less,
/// although it also contains images without a container.
const IMAGE_INSPECTS_MAX: usize = 2;

/// What the agent knows from earlier rounds. After a restart one round learns it again.
///
/// Looks that run at the same time share one cache. A look that learns something writes it into its
/// own copy, and the loop merges the copies. In a round without news nothing is copied.
#[derive(Debug, Default, Clone)]
pub struct Cache {
    /// Containers for which the list does not say what they were created from.
    containers: BTreeMap<String, KnownContainer>,
    images: BTreeMap<String, KnownImage>,
    offers: Offers,
    /// The queue for the quota, by registry.
    queues: BTreeMap<String, Queue>,
}

/// The facts from the inspect of a container.
#[derive(Debug, Clone)]
struct KnownContainer {
    from: CreatedFrom,
    is_podman: bool,
}

/// The known facts of a container.
#[derive(Debug, Clone, Copy)]
pub struct ContainerFacts<'a> {
    /// What it was created from.
    pub from: &'a CreatedFrom,
    /// Whether the Engine is Podman.
    pub is_podman: bool,
}

/// The facts about an image.
#[derive(Debug, Clone)]
pub struct KnownImage {
    /// `REPOSITORY@DIGEST` for each digest that leads to it.
    pub repo_digests: Vec<String>,
    /// `REPOSITORY:TAG` for each tag that points at it.
    pub tags: Vec<String>,
    /// Its labels that concern Pilotfish.
    pub labels: Labels,
    /// What its labels state about its version.
    pub version: Option<Box<StatedVersion>>,
    /// Its platform; absent if the image is known only from the list.
    pub platform: Option<Platform>,
}

/// Why the Engine returned nothing about some containers or images, by ID.
pub type Gaps = BTreeMap<String, String>;

impl Cache {
    /// Forgets containers and images that are gone.
    pub fn retain(self: &mut Arc<Self>, list: &[Listed]) {
        let ids: BTreeSet<_> = list.iter().map(|listed| listed.id.as_str()).collect();
        let images: BTreeSet<_> = list.iter().map(|listed| listed.image_id.as_str()).collect();
        let is_there = |id: &String| ids.contains(id.as_str());
        let is_used = |id: &String| images.contains(id.as_str());
        if self.containers.keys().all(is_there) && self.images.keys().all(is_used) {
            return;
        }
        let cache = Arc::make_mut(self);
        cache.containers.retain(|id, _| is_there(id));
        cache.images.retain(|id, _| is_used(id));
    }

    /// Asks the Engine for the facts about these containers that its list does not contain, and
    /// about their images.
    pub async fn learn<'a>(
        self: &mut Arc<Self>,
        engine: &impl Engine,
        listed: impl Iterator<Item = &'a Listed> + Clone,
    ) -> Gaps {
        let mut gaps = self.learn_containers(engine, listed.clone()).await;
        gaps.extend(self.learn_images(engine, listed.map(|it| it.image_id.as_str())).await);
        gaps
    }

    /// The same without their images.
    pub async fn learn_containers<'a>(
        self: &mut Arc<Self>,
        engine: &impl Engine,
        listed: impl Iterator<Item = &'a Listed>,
    ) -> Gaps {
        let untold = listed.filter(|listed| self.container(listed).is_none());
        let unknown: BTreeSet<_> = untold.map(|listed| listed.id.as_str()).collect();
        let inspects = unknown.into_iter().map(|id| inspect(engine, id).boxed()).collect();
        let (told, gaps) = gather(inspects).await;
        if !told.is_empty() {
            Arc::make_mut(self).containers.extend(told);
        }
        gaps
    }

    /// Asks the Engine for those of these images that are not known: all at once by its list, and
    /// one by one if the list does not contain the facts.
    async fn learn_images<'a>(
        self: &mut Arc<Self>,
        engine: &impl Engine,
        ids: impl Iterator<Item = &'a str>,
    ) -> Gaps {
        let mut unknown: BTreeSet<_> = ids.filter(|id| !self.images.contains_key(*id)).collect();
        if unknown.len() > IMAGE_INSPECTS_MAX {
            let mut told = BTreeMap::new();
            let mut take = |image: ImageFacts| {
                if unknown.remove(image.id.as_str()) {
                    let (id, image) = KnownImage::listed(image);
                    told.insert(id, image);
                }
            };
            // If the list fails, the inspects show why.
            let _ = engine.images(&mut take).await;
            if !told.is_empty() {
                Arc::make_mut(self).images.extend(told);
            }
        }
        self.ask_for_images(engine, unknown).await
    }

    /// Inspects these images, known or not. If the Engine does not answer, the earlier facts stay
    /// valid.
    pub async fn ask_for_images(
        self: &mut Arc<Self>,
        engine: &impl Engine,
        ids: BTreeSet<&str>,
    ) -> Gaps {
        let inspects = ids.into_iter().map(|id| inspect_image(engine, id).boxed()).collect();
        let (told, gaps) = gather(inspects).await;
        if !told.is_empty() {
            Arc::make_mut(self).images.extend(told);
        }
        gaps
    }

    /// Merges what a look has learnt.
    pub fn merge(self: &mut Arc<Self>, learnt: Arc<Self>) {
        if Arc::ptr_eq(self, &learnt) {
            return;
        }
        let learnt = Arc::unwrap_or_clone(learnt);
        let cache = Arc::make_mut(self);
        cache.containers.extend(learnt.containers);
        cache.images.extend(learnt.images);
        cache.queues.extend(learnt.queues);
        for (key, offer) in learnt.offers.0 {
            if cache.offers.get(&key).is_none() {
                cache.offers.keep(key, offer);
            }
        }
    }

    /// Asks the Engine about the images of containers with labels for Pilotfish, to find out
    /// whether the labels are the image's. Other images are not asked for.
    pub async fn learn_image_labels(self: &mut Arc<Self>, engine: &impl Engine, list: &[Listed]) {
        let labelled = list.iter().filter(|listed| has_policy(&listed.labels));
        // An error is reported for each container when it is looked at.
        let _ = self.learn_images(engine, labelled.map(|it| it.image_id.as_str())).await;
    }

    /// The labels of a container's image that concern Pilotfish. `None` if they are needed and not
    /// known.
    #[must_use]
    pub fn image_labels(&self, listed: &Listed) -> Option<&Labels> {
        static NONE: Labels = Labels::new();
        let known = self.images.get(&listed.image_id).map(|image| &image.labels);
        known.or_else(|| (!has_policy(&listed.labels)).then_some(&NONE))
    }

    /// Forgets those of these images that have no digest, so that the next look asks again: a
    /// person may push or pull one, and then it has a digest.
    pub fn forget_unpublished<'a>(self: &mut Arc<Self>, ids: impl Iterator<Item = &'a str>) {
        let has_none =
            |id: &&str| self.images.get(*id).is_some_and(|image| image.repo_digests.is_empty());
        let unpublished: Vec<_> = ids.filter(has_none).collect();
        if !unpublished.is_empty() {
            let cache = Arc::make_mut(self);
            unpublished.into_iter().for_each(|id| drop(cache.images.remove(id)));
        }
    }

    /// A container that is known from the list or from an inspect.
    #[must_use]
    pub fn container<'a>(&'a self, listed: &'a Listed) -> Option<ContainerFacts<'a>> {
        if let Some(from) = &listed.created_from {
            return Some(ContainerFacts { from, is_podman: false });
        }
        let KnownContainer { from, is_podman } = self.containers.get(&listed.id)?;
        Some(ContainerFacts { from, is_podman: *is_podman })
    }

    /// An image that is known.
    #[must_use]
    pub fn image(&self, id: &str) -> Option<&KnownImage> {
        self.images.get(id)
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

    /// Updates the queue for the quota of a registry.
    pub fn queue<'a>(
        self: &mut Arc<Self>,
        registry: &str,
        waiting: impl Iterator<Item = &'a QuotaRequest>,
        is_everybody: bool,
    ) {
        let mut queue = self.queues.get(registry).cloned().unwrap_or_default();
        queue.update(waiting, is_everybody);
        if self.queues.get(registry).is_none_or(|known| *known != queue) {
            Arc::make_mut(self).queues.insert(registry.to_owned(), queue);
        }
    }

    /// The place of an image in the queue of its registry.
    #[must_use]
    pub fn place(&self, wanted: &QuotaRequest) -> usize {
        self.queues.get(&wanted.0.registry).map_or(0, |queue| queue.place(wanted))
    }
}

/// The key of a resolved offer: the tag, the digest that it pointed at, the platform.
type OfferKey = (Reference, Digest, String);

/// Resolved offers, the oldest first.
#[derive(Debug, Default, Clone)]
struct Offers(VecDeque<(OfferKey, Offer)>);

impl Offers {
    fn get(&self, key: &OfferKey) -> Option<&Offer> {
        self.0.iter().rev().find(|(known, _)| known == key).map(|(_, offer)| offer)
    }

    /// Adds an offer, replaces an earlier one with the same key, and drops the oldest.
    fn keep(&mut self, key: OfferKey, offer: Offer) {
        self.0.retain(|(known, _)| *known != key);
        self.0.push_back((key, offer));
        let mut layers: usize = self.0.iter().map(|(_, offer)| offer.layers.len()).sum();
        while self.0.len() > OFFERS_MAX || (layers > OFFERED_LAYERS_MAX && self.0.len() > 1) {
            layers -= self.0.pop_front().map_or(0, |(_, offer)| offer.layers.len());
        }
    }
}

impl KnownContainer {
    fn of(document: &Value) -> Self {
        let manifest = inspect::text(document, "/ImageManifestDescriptor/digest").parse().ok();
        let is_podman = document.get(LIBPOD).is_some();
        let image = inspect::image_as_written(document).to_owned();
        Self { from: CreatedFrom { image, manifest }, is_podman }
    }
}

impl KnownImage {
    fn of(document: &Value) -> Self {
        let names = |pointer| {
            let names = document.pointer(pointer).and_then(Value::as_array);
            let names = names.into_iter().flatten().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        };
        let labels = inspect::labels(document);
        Self {
            repo_digests: names("/RepoDigests"),
            tags: names("/RepoTags"),
            version: StatedVersion::of_labels(&labels),
            labels: policy_alone(labels),
            platform: Some(inspect::platform(document)),
        }
    }

    /// The facts of a row of the list, and the image's ID.
    fn listed(image: ImageFacts) -> (String, Self) {
        let ImageFacts { id, tags, repo_digests, labels } = image;
        let version = StatedVersion::of_labels(&labels);
        let labels = policy_alone(labels);
        (id, Self { repo_digests, tags, labels, version, platform: None })
    }
}

/// Keeps the few fields of a document that are needed, and drops the document at once.
fn read<T>(
    answer: Result<Option<Value>, EngineError>,
    gone: impl FnOnce() -> String,
    of: impl FnOnce(&Value) -> T,
) -> Result<T, String> {
    let document = answer.map_err(|error| error.to_string())?.ok_or_else(gone)?;
    Ok(of(&document))
}

/// Waits for all of these inspects. Returns the facts, and the errors of the others.
async fn gather<T>(
    inspects: Vec<BoxFuture<'_, (String, Result<T, String>)>>,
) -> (BTreeMap<String, T>, Gaps) {
    let mut answers = stream::iter(inspects).buffer_unordered(INSPECTS_AT_ONCE);
    let (mut told, mut gaps) = (BTreeMap::new(), Gaps::new());
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(facts) => drop(told.insert(id, facts)),
            Err(why) => drop(gaps.insert(id, why)),
        }
    }
    (told, gaps)
}

async fn inspect(engine: &impl Engine, id: &str) -> (String, Result<KnownContainer, String>) {
    let gone = || "the container was removed while it was looked at".to_owned();
    (id.to_owned(), read(engine.inspect(id).await, gone, KnownContainer::of))
}

async fn inspect_image(engine: &impl Engine, id: &str) -> (String, Result<KnownImage, String>) {
    let gone = || format!("the Engine no longer knows the image {id}");
    (id.to_owned(), read(engine.inspect_image(id).await, gone, KnownImage::of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::offer::{Compression, Layer};

    fn offer(name: &str, layers: usize) -> Offer {
        let digest = Digest::of(name.as_bytes());
        let layer = Layer { digest: digest.clone(), size: 1, packing: Compression::Common };
        Offer { layers: vec![layer; layers], ..Offer::of_local(&Value::Null, digest, None) }
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
