//! Networks through Docker's API.

use serde_json::{Value, json};

use super::DockerEngine;
use super::path::escape;
use crate::engine::{EngineError, Networks};

impl Networks for DockerEngine {
    async fn has_network(&self, network: &str) -> Result<bool, EngineError> {
        let path = format!("/networks/{}", escape(network));
        Ok(self.get_if_there("inspect network", path).await?.is_some())
    }

    async fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> Result<(), EngineError> {
        let path = format!("/networks/{}/connect", escape(network));
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        self.post("connect network", path, &body).await.map(|_| ())
    }

    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        let path = format!("/networks/{}/disconnect", escape(network));
        let body = json!({ "Container": container });
        self.post("disconnect network", path, &body).await.map(|_| ())
    }
}
