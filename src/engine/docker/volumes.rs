//! Volumes through Docker's API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::path::escape;
use super::{DockerEngine, decode};
use crate::engine::{EngineError, Volumes};

impl Volumes for DockerEngine {
    async fn inspect_volume(&self, volume: &str) -> Result<Option<Value>, EngineError> {
        self.get_if_there("inspect volume", format!("/volumes/{}", escape(volume))).await
    }

    async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let body = json!({ "Name": name, "Driver": "local", "Labels": labels });
        self.post("create volume", "/volumes/create".into(), &body).await.map(|_| ())
    }

    async fn volume_labels(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        let volume = self.inspect_volume(name).await?;
        Ok(volume.map(|volume| decode::labels(volume.get("Labels"))))
    }

    async fn remove_volume(&self, name: &str) -> Result<bool, EngineError> {
        self.delete("remove volume", format!("/volumes/{}", escape(name))).await
    }
}
