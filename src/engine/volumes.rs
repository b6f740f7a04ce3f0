//! The calls for volumes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::EngineError;

/// The calls of an Engine for volumes.
pub trait Volumes: Send + Sync + 'static {
    /// One volume by name, raw. `None`: there is no such volume.
    fn inspect_volume(
        &self,
        volume: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// Creates a volume with these labels. An existing volume with this name stays as it is, which
    /// is no error: the labels of the first client count.
    fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The labels of a volume. `None`: there is no such volume.
    fn volume_labels(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<BTreeMap<String, String>>, EngineError>> + Send;

    /// Removes a volume that no container uses. `false`: it did not exist.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;
}
