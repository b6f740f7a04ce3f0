//! The calls for containers.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::Value;

use super::EngineError;
use crate::core::docker::reference::{Digest, Platform};
use crate::core::recreate::RestartPolicy;

/// One row of the Engine's list of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The container's ID.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// `running`, `exited`, …, or an unknown word.
    pub state: String,
    /// The exit code of its last run, if it has ended and the list contains it.
    pub exit_code: Option<i64>,
    /// The ID of its image.
    pub image_id: String,
    /// What it was created from. `None`: the list does not contain it, but an inspect does.
    pub created_from: Option<CreatedFrom>,
    /// Its labels, including those of the image.
    pub labels: BTreeMap<String, String>,
    /// The IDs of its network endpoints, sorted; empty if it does not run. A different ID means
    /// that it was connected again, perhaps with other links.
    pub endpoints: Vec<String>,
}

/// What a container was created from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedFrom {
    /// The image as the user wrote it.
    pub image: String,
    /// The platform's manifest, if the Engine's list contains it (API 1.48, containerd image
    /// store).
    pub manifest: Option<Digest>,
}

/// An event of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The process ended.
    Died {
        /// The exit code.
        code: i64,
    },
    /// The kernel killed one of its processes because of its memory limit.
    OutOfMemory,
    /// The result of its HEALTHCHECK changed: `healthy` or `unhealthy`.
    Health(String),
    /// A client stopped or killed it.
    Killed,
    /// It was removed.
    Destroyed,
    /// Anything else.
    Other(String),
}

/// Something at a path in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathStat {
    /// When it was last changed, if the Engine says it.
    pub modified_at: Option<DateTime<Utc>>,
}

/// The calls of an Engine for containers.
pub trait Containers: Send + Sync + 'static {
    /// All containers, running or not.
    fn list(&self) -> impl Future<Output = Result<Vec<Listed>, EngineError>> + Send;

    /// One container by name or ID, raw. `None`: there is no such container.
    fn inspect(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<Option<Value>, EngineError>> + Send;

    /// Creates a container and returns its ID.
    fn create(
        &self,
        name: &str,
        body: &Value,
        platform: Option<&Platform>,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Changes only the restart policy.
    fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Stops a container with its own signal, and kills it after `timeout`. A container that does
    /// not run is no error.
    fn stop(
        &self,
        container: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Sends a signal to a container's process, and does not wait for the effect. A container that
    /// does not run is a conflict.
    fn kill(
        &self,
        container: &str,
        signal: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Starts a container. A running container is no error.
    fn start(&self, container: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Stops and starts a container, in one call: if this program ends meanwhile, the Engine starts
    /// it all the same.
    fn restart(
        &self,
        container: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Renames a container.
    fn rename(
        &self,
        container: &str,
        name: &str,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container that does not run; with `volumes`, also its anonymous volumes. `false`:
    /// it did not exist.
    fn remove(
        &self,
        container: &str,
        volumes: bool,
    ) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The last log lines of a container, from both streams.
    fn logs(
        &self,
        container: &str,
        lines: usize,
    ) -> impl Future<Output = Result<Vec<String>, EngineError>> + Send;

    /// The events of a container from now on. Returns when the Engine has begun to listen. The
    /// stream ends when the Engine goes away.
    fn events(
        &self,
        container: &str,
    ) -> impl Future<Output = Result<BoxStream<'static, ContainerEvent>, EngineError>> + Send;

    /// Asks the Engine to mount everything that a container mounts, as a start would, and to
    /// unmount it. `false`: it cannot. `true` also if the Engine does not say it, as with Podman.
    fn can_mount(&self, container: &str) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// The differences between a container's own layer and its image, raw.
    fn changes(&self, container: &str) -> impl Future<Output = Result<Value, EngineError>> + Send;

    /// When an ordinary file in a container was last written; `None` for anything else.
    fn modified_at(
        &self,
        container: &str,
        path: &str,
    ) -> impl Future<Output = Result<Option<DateTime<Utc>>, EngineError>> + Send;

    /// What is at a path in a container: a file, a directory, or a link, which is not followed.
    /// `None`: nothing.
    fn stat(
        &self,
        container: &str,
        path: &str,
    ) -> impl Future<Output = Result<Option<PathStat>, EngineError>> + Send;

    /// Runs a command in a container and returns its exit code. After `timeout` it returns without
    /// waiting any longer; the Engine has no call that ends the command.
    fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<i64, EngineError>> + Send;
}
