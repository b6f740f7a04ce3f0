//! The calls for images, volumes and networks.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use pilotfish::core::docker::credentials::Credentials;
use pilotfish::core::docker::load_answer::LoadAnswer;
use pilotfish::core::docker::reference::{Digest, Platform, Reference};
use pilotfish::core::update::event::PullProgress;
use pilotfish::engine::{EngineError, ImageFacts, Images, ListedImage, Networks, Volumes};
use serde_json::Value;

use super::FakeEngine;
use super::state::refused;
use crate::images::archived_name;

impl Images for FakeEngine {
    async fn inspect_image(&self, image: &str) -> Result<Option<Value>, EngineError> {
        self.ask("inspect image", |state, _| {
            Ok(state.image(image).map(|it| state.image_document(it)))
        })
    }

    async fn list_images(&self, repository: &str) -> Result<Vec<ListedImage>, EngineError> {
        self.ask("list images", |state, _| Ok(state.images_of(repository)))
    }

    async fn images(&self, take: &mut (dyn FnMut(ImageFacts) + Send)) -> Result<(), EngineError> {
        let rows = self.ask("images", |state, _| {
            let images = state.stored.images.values();
            Ok(images.map(|image| state.image_facts(image)).collect::<Vec<_>>())
        })?;
        rows.into_iter().for_each(take);
        Ok(())
    }

    async fn pull(
        &self,
        reference: &Reference,
        digest: &Digest,
        _platform: &Platform,
        _credentials: Option<Credentials>,
        progress: &(dyn Fn(&PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let obstacle = self.0.point("pull", false);
        self.check_it_is_there()?;
        let done = self.0.now() + self.0.lock().engine.pull_takes;
        self.wait("pull", done).await?;
        let (image, failure) = {
            let affairs = self.0.lock();
            (affairs.registry.behind(digest).cloned(), affairs.registry.failure)
        };
        let Some(image) = image.filter(|_| failure.is_none() && obstacle.is_none()) else {
            self.0.log("  pull: the registry is gone");
            return Err(refused("pull", "the registry does not answer"));
        };
        progress(&PullProgress { current: 1_000_000, total: 1_000_000, layers_done: 1, layers: 1 });
        self.act("pulled", &format!("pull {}", image.name), |state, _| {
            state.pulled(&reference.familiar_name(), digest, &image);
            Ok(())
        })
    }

    async fn load(
        &self,
        mut archive: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<LoadAnswer, EngineError> {
        self.0.point("load", false);
        self.check_it_is_there()?;
        let (mut bytes, mut answer) = (Vec::new(), LoadAnswer::default());
        while let Some(block) = archive.next().await {
            let Ok(block) = block else {
                self.0.log("  load: broken off");
                let detail = "broken off".into();
                return Err(EngineError::Broken { call: "load", detail });
            };
            bytes.extend_from_slice(&block);
        }
        let Some(name) = archived_name(&bytes) else {
            // An archive without layers; here no layer is without its image. An Engine says so at
            // once, because there is nothing to unpack.
            answer.take(br#"{"error":"open layer.tar: no such file or directory"}"#);
            return Ok(answer);
        };
        let done = self.0.now() + self.0.lock().engine.pull_takes;
        self.wait("load", done).await?;
        let image = Arc::clone(self.0.lock().registry.image(&name));
        let id =
            self.act("loaded", &format!("load {name}"), |state, _| Ok(state.loaded(&image)))?;
        answer.take(format!("{{\"stream\":\"Loaded image ID: {id}\"}}").as_bytes());
        Ok(answer)
    }

    async fn tag(&self, image: &str, name: &str, tag: &str) -> Result<(), EngineError> {
        self.act("tag", &format!("tag {image} {name}:{tag}"), |state, at| {
            state.tag(at.wall, image, &format!("{name}:{tag}"))
        })
    }

    async fn remove_image(&self, image: &str) -> Result<bool, EngineError> {
        self.act("remove image", &format!("rmi {image}"), |state, _| state.remove_image(image))
    }
}

impl Volumes for FakeEngine {
    async fn inspect_volume(&self, _volume: &str) -> Result<Option<Value>, EngineError> {
        Ok(None)
    }

    async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        self.quietly("create volume", |state, _| {
            let found = state.stored.labels.entry(name.to_owned());
            found.or_insert_with(|| labels.clone());
            state.written();
            Ok(())
        })
    }

    async fn volume_labels(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        self.ask("inspect volume", |state, _| Ok(state.stored.labels.get(name).cloned()))
    }

    async fn remove_volume(&self, name: &str) -> Result<bool, EngineError> {
        self.quietly("remove volume", |state, _| {
            let removed = state.stored.labels.remove(name).is_some();
            state.forget_labels(name);
            state.written();
            Ok(removed)
        })
    }
}

impl Networks for FakeEngine {
    async fn has_network(&self, _network: &str) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> Result<(), EngineError> {
        self.act("connect", &format!("connect {container} to {network}"), |state, _| {
            state.connect(network, container, endpoint)
        })
    }

    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        self.act("disconnect", &format!("disconnect {container} from {network}"), |state, _| {
            state.disconnect(network, container)
        })
    }
}
