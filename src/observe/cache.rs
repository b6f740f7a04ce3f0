//! What does not change while an ID stays the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::quota::{Queue, Wanted};
use crate::core::decide::offer::Offer;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::engine::{Engine, EngineError, Listed};

/// How many resolved offers are kept. Each saves a GET that a registry counts as a pull.
const OFFERS_MAX: usize = 500;

/// What the agent knows from earlier rounds. Lost at a restart, and made again by one round.
#[derive(Debug, Default)]
pub struct Cache {
    containers: BTreeMap<String, Known>,
    images: BTreeMap<String, Value>,
    offers: BTreeMap<(Reference, Digest, String), Offer>,
    queue: Queue,
}

/// What an inspect said of a container.
#[derive(Debug, Clone)]
pub struct Known {
    /// The image as the user wrote it.
    pub image: String,
    /// The platform's manifest, where the Engine tells it (API 1.48, containerd image store).
    pub manifest: Option<Digest>,
}

impl Cache {
    /// Forgets containers and images that are gone.
    pub fn retain(&mut self, list: &[Listed]) {
        let ids: BTreeSet<_> = list.iter().map(|listed| listed.id.as_str()).collect();
        let images: BTreeSet<_> = list.iter().map(|listed| listed.image_id.as_str()).collect();
        self.containers.retain(|id, _| ids.contains(id.as_str()));
        self.images.retain(|id, _| images.contains(id.as_str()));
    }

    /// What an inspect says of a container, asked once.
    ///
    /// # Errors
    /// The Engine does not answer, or the container has just gone.
    pub async fn container(
        &mut self,
        engine: &impl Engine,
        id: &str,
    ) -> Result<Known, EngineError> {
        if let Some(known) = self.containers.get(id) {
            return Ok(known.clone());
        }
        let document = engine.inspect(id).await?.ok_or_else(|| EngineError::NotFound {
            message: "the container was removed while it was looked at".into(),
        })?;
        let manifest = inspect::text(&document, "/ImageManifestDescriptor/digest").parse().ok();
        let image = inspect::image_as_written(&document).to_owned();
        let known = Known { image, manifest };
        self.containers.insert(id.to_owned(), known.clone());
        Ok(known)
    }

    /// The part of an image's document that a look needs, asked once.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn image(
        &mut self,
        engine: &impl Engine,
        id: &str,
    ) -> Result<Option<Value>, EngineError> {
        if let Some(document) = self.images.get(id) {
            return Ok(Some(document.clone()));
        }
        let Some(document) = engine.inspect_image(id).await? else { return Ok(None) };
        let kept: serde_json::Map<String, Value> = ["RepoDigests", "Os", "Architecture", "Variant"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), document.get(key)?.clone())))
            .collect();
        self.images.insert(id.to_owned(), Value::Object(kept.clone()));
        Ok(Some(Value::Object(kept)))
    }

    /// The next look asks the Engine for this image again.
    pub fn forget_image(&mut self, id: &str) {
        self.images.remove(id);
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
        if self.offers.len() >= OFFERS_MAX {
            self.offers.pop_first();
        }
        let key = (reference.clone(), offer.index.clone(), platform.to_string());
        self.offers.insert(key, offer);
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
