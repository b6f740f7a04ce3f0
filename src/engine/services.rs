//! The calls for the services of a Swarm.
//!
//! Only a manager answers them; a worker, and an Engine without a Swarm, answer 503. Documents are
//! raw JSON in both directions, because an update sends back the whole specification of a service,
//! and a field that the program does not know must survive.

use serde_json::Value;

use super::EngineError;
use crate::core::docker::credentials::Credentials;

/// How an Engine takes part in a Swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmMembership {
    /// The ID of its node; empty without a Swarm.
    pub node_id: String,
    /// Whether it is a manager that can be asked about the Swarm now (`ControlAvailable`).
    pub is_manager: bool,
}

/// A change of a service.
#[derive(Debug)]
pub struct ServiceChange<'a> {
    /// The service's ID.
    pub service: &'a str,
    /// The version of the document from which the change was made. If the service has changed since
    /// then, the Engine refuses (see [`EngineError::is_out_of_sequence`]).
    pub version: u64,
    /// The whole new specification.
    pub spec: &'a Value,
    /// The login for the nodes' pulls. Without one the Swarm keeps the login that it has: it stores
    /// logins and never shows them.
    pub credentials: Option<&'a Credentials>,
}

/// The calls of an Engine for the services of a Swarm.
pub trait Services: Send + Sync + 'static {
    /// How this Engine takes part in a Swarm.
    fn swarm(&self) -> impl Future<Output = Result<SwarmMembership, EngineError>> + Send;

    /// All services, raw.
    fn services(&self) -> impl Future<Output = Result<Vec<Value>, EngineError>> + Send;

    /// One service by name or ID, raw, without the defaults that the Engine could fill in: what the
    /// user left out is absent. `None`: there is no such service.
    fn service(
        &self,
        service: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// All tasks of a service that the Swarm still remembers, raw.
    fn tasks(&self, service: &str) -> impl Future<Output = Result<Vec<Value>, EngineError>> + Send;

    /// All nodes of the Swarm, raw.
    fn nodes(&self) -> impl Future<Output = Result<Vec<Value>, EngineError>> + Send;

    /// Replaces the specification of a service.
    fn update_service(
        &self,
        change: ServiceChange<'_>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates a service and returns its ID.
    fn create_service(
        &self,
        spec: &Value,
        credentials: Option<&Credentials>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Removes a service with its tasks. `false`: it did not exist.
    fn remove_service(
        &self,
        service: &str,
    ) -> impl Future<Output = Result<bool, EngineError>> + Send;
}
