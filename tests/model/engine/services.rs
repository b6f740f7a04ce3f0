//! The calls for services: this Engine is in no Swarm, so all of them are refused.

use pilotfish::core::docker::credentials::Credentials;
use pilotfish::engine::{EngineError, ServiceChange, Services, SwarmMembership};
use serde_json::Value;

use super::FakeEngine;

impl FakeEngine {
    /// An answer of Engine 20.10 outside of a Swarm.
    fn no_manager<T>(&self, call: &'static str) -> Result<T, EngineError> {
        let message = "This node is not a swarm manager.".into();
        self.ask(call, |_, _| Err(EngineError::Refused { call, status: 503, message }))
    }
}

impl Services for FakeEngine {
    async fn swarm(&self) -> Result<SwarmMembership, EngineError> {
        self.ask("info", |_, _| Ok(SwarmMembership::default()))
    }

    async fn services(&self) -> Result<Vec<Value>, EngineError> {
        self.no_manager("list services")
    }

    async fn service(&self, _service: &str) -> Result<Option<Value>, EngineError> {
        self.no_manager("inspect service")
    }

    async fn tasks(&self, _service: &str) -> Result<Vec<Value>, EngineError> {
        self.no_manager("list tasks")
    }

    async fn nodes(&self) -> Result<Vec<Value>, EngineError> {
        self.no_manager("list nodes")
    }

    async fn update_service(&self, _change: ServiceChange<'_>) -> Result<(), EngineError> {
        self.no_manager("update service")
    }

    async fn create_service(
        &self,
        _spec: &Value,
        _credentials: Option<&Credentials>,
    ) -> Result<String, EngineError> {
        self.no_manager("create service")
    }

    async fn remove_service(&self, _service: &str) -> Result<bool, EngineError> {
        self.no_manager("remove service")
    }
}
