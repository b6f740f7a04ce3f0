//! What the Engine answers to the smaller questions, and how transcripts call its things.

use std::collections::VecDeque;
use std::time::Duration;

use pilotfish::core::recreate::RestartPolicy;
use pilotfish::engine::{
    ContainerEvent, CreatedFrom, EngineError, ImageFacts, Listed, ListedImage,
};
use serde_json::Value;

use super::documents::word;
use super::state::{Container, Phase, State};
use super::store::{LocalImage, repository};

impl State {
    /// Away until then.
    pub fn up_at(&self) -> Duration {
        self.up_at
    }

    pub fn listed(&self, container: &Container) -> Listed {
        let image = self.stored.images.get(&container.image);
        let of_image = image.and_then(|image| image.spec.document["Labels"].as_object());
        let labels = of_image.into_iter().chain(container.body["Labels"].as_object()).flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Listed {
            id: container.id.clone(),
            name: container.name.clone(),
            state: word(container.phase).into(),
            exit_code: (container.phase == Phase::Exited).then_some(container.exit_code),
            image_id: container.image.clone(),
            created_from: self.created_from(container),
            labels: labels.map(|(k, v)| (k.clone(), text(v))).collect(),
            endpoints: Vec::new(),
        }
    }

    /// What the list tells only while the name still leads to the image that runs.
    fn created_from(&self, container: &Container) -> Option<CreatedFrom> {
        let name = container.body["Image"].as_str()?;
        let leads_to = self.image(name).filter(|image| image.id == container.image)?;
        let manifest = self.containerd_store.then(|| leads_to.spec.manifest.clone());
        (name != container.image).then(|| CreatedFrom { image: name.to_owned(), manifest })
    }

    /// One row of `GET /images/json`. On containerd's store it names one repository of several.
    pub fn image_facts(&self, image: &LocalImage) -> ImageFacts {
        let labels = image.spec.document["Labels"].as_object();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let named = if self.containerd_store { 1 } else { usize::MAX };
        ImageFacts {
            id: image.id.clone(),
            tags: image.tags.keys().cloned().collect(),
            repo_digests: image
                .repo_digests(self.containerd_store)
                .into_iter()
                .take(named)
                .collect(),
            labels: labels.into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect(),
        }
    }

    pub fn images_of(&self, of: &str) -> Vec<ListedImage> {
        let images = self.stored.images.values();
        // In the Engine's filter `*` does not match a slash.
        let is_meant = |name: &str| match of.strip_suffix('*') {
            Some(folder) => name.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')),
            None => name == of,
        };
        let meant = images.filter(|image| image.tags.keys().any(|tag| is_meant(repository(tag))));
        meant
            .map(|image| ListedImage {
                id: image.id.clone(),
                tags: image.tags.keys().cloned().collect(),
                created: 0,
            })
            .collect()
    }

    pub fn connect(
        &mut self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> Result<(), EngineError> {
        let id = self.found(container)?.id.clone();
        self.change(&id, |it| drop(it.networks.insert(network.to_owned(), endpoint.clone())));
        Ok(())
    }

    pub fn disconnect(&mut self, network: &str, container: &str) -> Result<(), EngineError> {
        let id = self.found(container)?.id.clone();
        self.change(&id, |it| drop(it.networks.remove(network)));
        Ok(())
    }

    pub fn set_policy(&mut self, key: &str, policy: &RestartPolicy) -> Result<(), EngineError> {
        let id = self.found(key)?.id.clone();
        self.change(&id, |container| container.policy = policy.clone());
        Ok(())
    }

    /// A new event stream on one container.
    pub fn listen(&mut self, container: &str) -> u64 {
        self.next += 1;
        self.streams.insert(self.next, (container.to_owned(), VecDeque::new()));
        self.next
    }

    /// `None`: the stream has ended.
    pub fn next_event(&mut self, number: u64) -> Option<Option<ContainerEvent>> {
        self.streams.get_mut(&number).map(|(_, queue)| queue.pop_front())
    }

    pub fn streams_end(&mut self) {
        self.streams.clear();
    }

    /// IDs and digests, as people call what is behind them.
    pub fn in_words(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for container in self.containers() {
            text = text.replace(&container.id, &container.alias);
        }
        for image in self.stored.images.values() {
            text = text.replace(&image.id, &image.spec.name);
            let hex = image.id.trim_start_matches("sha256:");
            text = text.replace(hex, &image.spec.name).replace(&hex[..12], &image.spec.name);
        }
        text
    }
}
