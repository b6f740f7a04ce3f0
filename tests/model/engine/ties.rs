//! Containers that live in the namespaces of others.

use pilotfish::engine::EngineError;
use serde_json::Value;

use super::state::{Container, State, refused};

/// Fields of `HostConfig` that may say `container:OTHER`.
const NAMESPACES: [&str; 3] = ["NetworkMode", "PidMode", "IpcMode"];

impl Container {
    /// The IDs of the containers that it lives in.
    pub fn anchors(&self) -> impl Iterator<Item = &str> {
        NAMESPACES
            .into_iter()
            .filter_map(|field| self.body["HostConfig"][field].as_str()?.strip_prefix("container:"))
    }
}

impl State {
    /// The Engine writes the ID of the other container, whatever it was called in the body.
    pub(super) fn resolved(&self, body: &Value) -> Result<Value, EngineError> {
        let mut body = body.clone();
        for field in NAMESPACES {
            let mode = &mut body["HostConfig"];
            let other = mode[field].as_str().and_then(|mode| mode.strip_prefix("container:"));
            if let Some(other) = other {
                let id = &self.found(other)?.id;
                mode[field] = Value::from(format!("container:{id}"));
            }
        }
        Ok(body)
    }

    /// A namespace exists for as long as its container runs.
    pub(super) fn check_what_it_hangs_on(&self, container: &Container) -> Result<(), EngineError> {
        for anchor in container.anchors() {
            if !self.found(anchor)?.is_running() {
                let words = format!("cannot join network of a non running container: {anchor}");
                return Err(refused("start container", &words));
            }
        }
        Ok(())
    }
}
