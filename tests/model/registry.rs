//! A registry: which image each tag points to, and how the registry fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotfish::core::decide::offer::{Compression, Layer, LookupError, Offer};
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::docker::credentials::Credentials;
use pilotfish::core::docker::reference::{Digest, Platform, Reference};
use pilotfish::registry::Registry;

use crate::images::Image;
use crate::machine::Machine;

/// The content of the registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryContent {
    images: BTreeMap<String, Arc<Image>>,
    tags: BTreeMap<String, Digest>,
    indexes: BTreeMap<Digest, Arc<Image>>,
    editions: BTreeMap<String, u32>,
    pub failure: Option<Reason>,
    /// How many HEAD and GET requests it got.
    pub heads: usize,
    pub gets: usize,
}

impl RegistryContent {
    /// Adds a built image; it is not pushed yet.
    pub fn built(&mut self, image: Image) {
        self.images.insert(image.name.clone(), Arc::new(image));
    }

    pub fn image(&self, name: &str) -> &Arc<Image> {
        self.images.get(name).expect("an image of this name")
    }

    /// Pushes an image. A second push publishes the same image under a new index.
    pub fn push(&mut self, tag: &str, name: &str) -> Digest {
        let image = Arc::clone(self.image(name));
        let edition = self.editions.entry(name.to_owned()).or_default();
        *edition += 1;
        let index = image.index(*edition);
        self.indexes.insert(index.clone(), image);
        self.tags.insert(tag.to_owned(), index.clone());
        index
    }

    /// The image that a tag points to.
    pub fn offered(&self, tag: &str) -> Option<(&Digest, &Arc<Image>)> {
        let index = self.tags.get(tag)?;
        Some((index, self.indexes.get(index)?))
    }

    /// The image that a digest stands for: that of an index, or the ID of a pushed image.
    pub fn behind(&self, digest: &Digest) -> Option<&Arc<Image>> {
        let is_it = |image: &&Arc<Image>| image.config == *digest || image.manifest == *digest;
        self.indexes.get(digest).or_else(|| self.images.values().find(is_it))
    }

    pub fn with_manifest(&self, manifest: &Digest) -> Option<&Arc<Image>> {
        self.images.values().find(|image| image.manifest == *manifest)
    }

    fn answer<T>(&self, answer: Option<T>) -> Result<T, LookupError> {
        match (self.failure, answer) {
            (Some(reason), _) => Err(LookupError::new(reason, "the registry does not answer")),
            (None, None) => Err(LookupError::new(Reason::NotFound, "there is no such tag")),
            (None, Some(answer)) => Ok(answer),
        }
    }
}

/// The registry, as the agent sees it.
#[derive(Debug, Clone)]
pub struct FakeRegistry(pub Arc<Machine>);

impl Registry for FakeRegistry {
    async fn head(&self, reference: &Reference) -> Result<Digest, LookupError> {
        self.0.read_point("head", false);
        let tag = reference.tag.clone().unwrap_or_default();
        let known = reference.digest.clone().filter(|_| reference.tag.is_none());
        let mut state = self.0.lock();
        state.registry.heads += 1;
        if let Some(digest) = known {
            let known = state.registry.behind(&digest).map(|_| digest);
            return state.registry.answer(known);
        }
        let digest = state.registry.offered(&format!("{}:{tag}", reference.familiar_name()));
        state.registry.answer(digest.map(|(digest, _)| digest.clone()))
    }

    async fn resolve(
        &self,
        _reference: &Reference,
        digest: &Digest,
        _platform: &Platform,
    ) -> Result<Offer, LookupError> {
        self.0.read_point("resolve", false);
        let mut state = self.0.lock();
        state.registry.gets += 1;
        let offer = state.registry.behind(digest).map(|image| offer(image, digest));
        state.registry.answer(offer)
    }

    async fn document(&self, _: &Reference, _: &Digest) -> Result<Vec<u8>, LookupError> {
        panic!("a machine without services asks for no index")
    }

    async fn credentials(&self, _registry: &str) -> Result<Option<Credentials>, LookupError> {
        Ok(None)
    }
}

fn offer(image: &Image, index: &Digest) -> Offer {
    Offer {
        index: index.clone(),
        manifest: image.manifest.clone(),
        config: image.config.clone(),
        platform: Platform {
            os: "linux".into(),
            architecture: "arm64".into(),
            variant: String::new(),
        },
        layers: vec![Layer {
            digest: image.manifest.clone(),
            size: 1_000_000,
            packing: Compression::Common,
        }],
        diff_ids: vec![image.config.clone()],
        version: None,
    }
}
