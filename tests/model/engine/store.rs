//! The Engine's images, on the classic store and on containerd's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pilotfish::core::docker::reference::Digest;
use pilotfish::engine::EngineError;

use super::state::State;
use crate::images::Image;

/// An image on the machine.
#[derive(Debug, Clone)]
pub struct LocalImage {
    /// The configuration's digest on the classic store, the index's on containerd's.
    pub id: String,
    pub spec: Arc<Image>,
    /// `repository:tag`, and when it was set.
    pub tags: BTreeMap<String, DateTime<Utc>>,
    /// `repository@digest`, as pulled.
    pub digests: BTreeSet<String>,
    /// Whether its files are on the disk.
    pub flushed: bool,
    /// Its files have no length: the power went before they were flushed. A pull does not mend
    /// that, because the image is there.
    pub damaged: bool,
}

impl LocalImage {
    /// `RepoDigests`. On containerd's store they follow the tags.
    pub fn repo_digests(&self, containerd_store: bool) -> BTreeSet<String> {
        let mut digests = self.digests.clone();
        if containerd_store {
            let repositories = self.tags.keys().map(|tag| repository(tag));
            digests.extend(repositories.map(|repository| format!("{repository}@{}", self.id)));
        }
        digests
    }

    /// Whether all its names are one tag and digests of the same repository (moby's
    /// `isSingleReference`): then the name cannot be taken from an image in use.
    fn has_a_single_name(&self) -> bool {
        let tags: Vec<_> = self.tags.keys().collect();
        tags.len() + self.digests.len() <= 1
            || tags.len() == 1
                && self.digests.iter().all(|name| repository(name) == repository(tags[0]))
    }
}

/// The name without tag or digest.
pub fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(repository, _)| repository);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

impl State {
    /// By ID, `repository:tag` or `repository@digest`.
    pub fn image(&self, name: &str) -> Option<&LocalImage> {
        let pinned = name.split_once('@').map(|(_, it)| format!("{}@{it}", repository(name)));
        let name = pinned.as_deref().unwrap_or(name);
        let by_id = self.stored.images.get(name).map(AsRef::as_ref);
        by_id.or_else(|| {
            self.stored.images.values().map(AsRef::as_ref).find(|image| {
                image.tags.contains_key(name)
                    || image.repo_digests(self.containerd_store).contains(name)
            })
        })
    }

    /// What a build leaves.
    pub fn built(&mut self, spec: &Arc<Image>) {
        self.put(spec.config.as_str(), spec);
        self.written();
    }

    fn put(&mut self, id: &str, spec: &Arc<Image>) -> &mut LocalImage {
        let image = self.stored.images.entry(id.to_owned()).or_insert_with(|| {
            Arc::new(LocalImage {
                id: id.to_owned(),
                spec: Arc::clone(spec),
                tags: BTreeMap::new(),
                digests: BTreeSet::new(),
                flushed: false,
                damaged: false,
            })
        });
        Arc::make_mut(image)
    }

    /// What a pull by digest leaves.
    pub fn pulled(&mut self, repository: &str, index: &Digest, spec: &Arc<Image>) -> String {
        let id = if self.containerd_store { index } else { &spec.config }.to_string();
        self.put(&id, spec).digests.insert(format!("{repository}@{index}"));
        self.written();
        id
    }

    /// What a load of an archive without names leaves.
    pub fn loaded(&mut self, spec: &Arc<Image>) -> String {
        let id = if self.containerd_store { &spec.manifest } else { &spec.config }.to_string();
        self.put(&id, spec);
        self.written();
        id
    }

    pub fn tag(&mut self, at: DateTime<Utc>, image: &str, name: &str) -> Result<(), EngineError> {
        let id = self.image(image).map(|image| image.id.clone());
        let id = id.ok_or_else(|| not_found(image))?;
        for other in self.stored.images.values_mut() {
            if other.tags.contains_key(name) {
                Arc::make_mut(other).tags.remove(name);
            }
        }
        if let Some(image) = self.stored.images.get_mut(&id) {
            Arc::make_mut(image).tags.insert(name.to_owned(), at);
        }
        self.written();
        Ok(())
    }

    /// Removes a name, and the image with its last one; or an image by its ID.
    pub fn remove_image(&mut self, name: &str) -> Result<bool, EngineError> {
        let Some(image) = self.image(name).cloned() else { return Ok(false) };
        let in_use = self.containers().any(|container| container.image == image.id);
        if name == image.id {
            return self.remove_by_id(&image, in_use);
        }
        if image.has_a_single_name() && in_use {
            return Err(conflict(&format!("unable to remove repository reference {name}")));
        }
        let of = repository(name).to_owned();
        if let Some(image) = self.stored.images.get_mut(&image.id) {
            let image = Arc::make_mut(image);
            image.tags.remove(name);
            image.digests.remove(name);
            if image.tags.keys().all(|tag| repository(tag) != of) {
                image.digests.retain(|digest| repository(digest) != of);
            }
        }
        self.stored
            .images
            .retain(|_, image| in_use || !(image.tags.is_empty() && image.digests.is_empty()));
        self.written();
        Ok(true)
    }

    fn remove_by_id(&mut self, image: &LocalImage, in_use: bool) -> Result<bool, EngineError> {
        let names = image.tags.keys().chain(&image.digests).map(|name| repository(name));
        let repositories: BTreeSet<_> = names.collect();
        if in_use {
            return Err(conflict("unable to delete, image is being used by a container"));
        }
        if repositories.len() > 1 {
            return Err(conflict("unable to delete, image is referenced in multiple repositories"));
        }
        self.stored.images.remove(&image.id);
        self.written();
        Ok(true)
    }

    /// `docker system prune -f`: containers that do not run, images without a tag that nothing
    /// uses.
    pub fn prune(&mut self) {
        let stopped: Vec<_> = self
            .containers()
            .filter(|container| !container.is_running())
            .map(|container| container.id.clone())
            .collect();
        for id in stopped {
            // It does not run, so nothing refuses this.
            let _ = self.remove(&id, false);
        }
        let used: BTreeSet<_> = self.containers().map(|c| c.image.clone()).collect();
        self.stored.images.retain(|id, image| !image.tags.is_empty() || used.contains(id));
        self.written();
    }
}

fn not_found(image: &str) -> EngineError {
    EngineError::NotFound { message: format!("No such image: {image}") }
}

fn conflict(words: &str) -> EngineError {
    EngineError::Conflict { message: format!("conflict: {words}") }
}
