//! Images through Docker's API.

use std::io;

use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use super::connection::convert;
use super::path::escape;
use super::{ACT_TIMEOUT, DockerEngine, QUESTION_TIMEOUT, decode, load, podman, pull, was_there};
use crate::core::docker::credentials::Credentials;
use crate::core::docker::load_answer::LoadAnswer;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::update::event::PullProgress;
use crate::engine::{EngineError, ImageFacts, Images, ListedImage};

impl Images for DockerEngine {
    async fn inspect_image(&self, image: &str) -> Result<Option<Value>, EngineError> {
        let path = format!("/images/{}/json", escape(image));
        self.inspect_whole("inspect image", path, podman::complete_image).await
    }

    async fn list_images(&self, repository: &str) -> Result<Vec<ListedImage>, EngineError> {
        let filters = json!({ "reference": [repository] }).to_string();
        let path = format!("/images/json?filters={}", escape(&filters));
        let mut list = Vec::new();
        let mut take = |row| list.push(row);
        self.rows("list images", path, |row, _| decode::image(row), &mut take).await?;
        Ok(list)
    }

    async fn images(&self, take: &mut (dyn FnMut(ImageFacts) + Send)) -> Result<(), EngineError> {
        self.rows("list images", "/images/json".into(), decode::image_facts, take).await
    }

    async fn pull(
        &self,
        reference: &Reference,
        digest: &Digest,
        platform: &Platform,
        credentials: Option<Credentials>,
        progress: &(dyn Fn(&PullProgress) + Send + Sync),
    ) -> Result<(), EngineError> {
        let docker = self.connection.bollard(QUESTION_TIMEOUT).await?;
        pull::pull(&docker, reference, digest, platform, credentials, progress).await
    }

    async fn load(
        &self,
        archive: BoxStream<'static, io::Result<Bytes>>,
    ) -> Result<LoadAnswer, EngineError> {
        let (client, prefix) = self.connection.raw().await?;
        load::load(client, &prefix, archive).await
    }

    async fn tag(&self, image: &str, name: &str, tag: &str) -> Result<(), EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let options = TagImageOptions { repo: Some(name.to_owned()), tag: Some(tag.to_owned()) };
        docker.tag_image(image, Some(options)).await.map_err(|error| convert("tag image", &error))
    }

    async fn remove_image(&self, image: &str) -> Result<bool, EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let options = RemoveImageOptions { force: false, noprune: false, platforms: None };
        let answer = docker.remove_image(image, Some(options), None).await;
        was_there(answer.map(|_| ()).map_err(|error| convert("remove image", &error)))
    }
}
