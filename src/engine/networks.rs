//! The calls for networks.

use serde_json::Value;

use super::EngineError;

/// The calls of an Engine for networks.
pub trait Networks: Send + Sync + 'static {
    /// Whether a network with this name or ID exists.
    fn has_network(&self, network: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Connects a container to one more network.
    fn connect(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Disconnects a container from a network.
    fn disconnect(
        &self,
        network: &str,
        container: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;
}
