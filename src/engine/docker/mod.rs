//! The adapter for Docker's API.
//!
//! bollard does actions and streams (pull, start, stop, logs, exec, …). Answers that must arrive
//! unchanged use raw JSON, because of four facts about bollard 0.21.1, each covered by a test in
//! `tests/bollard.rs`: inspect drops unknown fields, one unknown enum value fails a whole list, the
//! API version is never sent, and `X-Registry-Auth` is written with the wrong base64 alphabet. The
//! request modifier corrects the last two.

pub mod address;
mod connection;
mod events;
mod podman;
mod pull;
mod json_client;
mod decode;
mod label_reader;
mod path;
mod row_reader;

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::query_parameters::{
    KillContainerOptions, LogsOptions, RemoveContainerOptions, RemoveImageOptions,
    RenameContainerOptions, StopContainerOptions, TagImageOptions,
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::core::docker::credentials::Credentials;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::recreate::RestartPolicy;
use crate::core::update::event::PullProgress;
use crate::engine::{
    ContainerEvent, Engine, EngineError, EngineInfo, ImageFacts, Listed, ListedImage,
};
use address::{Address, TlsFiles};
use connection::{Connection, convert};
use json_client::Call;
use path::escape;

/// How long a question may take. It is long, because an SD card under load answers an inspect in
/// seconds.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an action without a grace period may take: create and remove use the disk.
const ACT_TIMEOUT: Duration = Duration::from_secs(180);

/// The Engine's extra time after the grace period of a stop: kill, unmount, release of the network.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// Longest line of a container's log that is kept, in bytes.
const LOG_LINE_BYTES_MAX: usize = 2000;

/// Docker's Engine, or another one with its API.
#[derive(Debug)]
pub struct DockerEngine {
    connection: Connection,
}

impl DockerEngine {
    /// An adapter for the Engine at this address. It has not connected yet.
    ///
    /// # Errors
    /// The TLS files cannot be read.
    pub fn new(address: Address, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        Ok(Self { connection: Connection::new(address, tls)? })
    }

    async fn get(&self, name: &'static str, path: String) -> Result<Value, EngineError> {
        let method = Method::GET;
        let call = Call { name, method, path, body: None, timeout: QUESTION_TIMEOUT };
        self.connection.send(call).await
    }

    /// The valid rows of a list. Afterwards it is known whether the Engine is Podman.
    async fn rows<T: Send>(
        &self,
        name: &'static str,
        path: String,
        read: fn(&Value, bool) -> Option<T>,
        take: &mut (dyn FnMut(T) + Send),
    ) -> Result<(), EngineError> {
        let (method, timeout) = (Method::GET, QUESTION_TIMEOUT);
        let call = Call { name, method, path, body: None, timeout };
        let mut each = |row: &Value| {
            if let Some(row) = read(row, self.connection.is_podman()) {
                take(row);
            }
        };
        self.connection.send_for_rows(call, &mut each).await
    }

    async fn post(
        &self,
        name: &'static str,
        path: String,
        body: &Value,
    ) -> Result<Value, EngineError> {
        let method = Method::POST;
        let call = Call { name, method, path, body: Some(body), timeout: ACT_TIMEOUT };
        self.connection.send(call).await
    }

    async fn get_if_there(
        &self,
        name: &'static str,
        path: String,
    ) -> Result<Option<Value>, EngineError> {
        match self.get(name, path).await {
            Ok(value) => Ok(Some(value)),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A document, with the settings that Podman shows only in its own API; `None` if the subject
    /// is gone.
    async fn inspect_whole(
        &self,
        name: &'static str,
        path: String,
        complete: impl FnOnce(&mut Value, Value),
    ) -> Result<Option<Value>, EngineError> {
        let Some(mut document) = self.get_if_there(name, path.clone()).await? else {
            return Ok(None);
        };
        let (method, timeout) = (Method::GET, QUESTION_TIMEOUT);
        let call = Call { name, method, path, body: None, timeout };
        match self.connection.send_to_podman(call).await {
            Ok(Some(own)) => complete(&mut document, own),
            Ok(None) => {}
            // It was removed between the two questions.
            Err(EngineError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(document))
    }
}

impl DockerEngine {
    /// Runs a command in a container and returns its exit code. The output is thrown away.
    ///
    /// This does not use bollard, which always asks for an upgrade of the connection: HAProxy drops
    /// the upgrade of a request that has a body. The Engine sends the output also without one.
    async fn run_in_container(
        &self,
        container: &str,
        command: &[String],
    ) -> Result<i64, EngineError> {
        let missing = |detail: &str| EngineError::Garbage { call: "exec", detail: detail.into() };
        let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
        let created =
            self.post("exec", format!("/containers/{}/exec", escape(container)), &body).await?;
        let id = created.get("Id").and_then(Value::as_str).ok_or_else(|| missing("no Id"))?;
        let exec = format!("/exec/{}", escape(id));
        let (raw, prefix) = self.connection.raw().await?;
        let start = json!({ "Detach": false, "Tty": false });
        let output = raw.stream("exec", &format!("{prefix}{exec}/start"), Some(&start)).await?;
        let mut output = std::pin::pin!(output);
        while output.next().await.is_some() {}
        let end = self.get("exec", format!("{exec}/json")).await?;
        end.get("ExitCode").and_then(Value::as_i64).ok_or_else(|| missing("no exit code"))
    }
}

impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let version = self.connection.negotiate().await?;
        let info = self.get("info", "/info".into()).await?;
        Ok(decode::engine_info(&version, &info))
    }

    async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        let mut list = Vec::new();
        let mut take = |row| list.push(row);
        let path = "/containers/json?all=1".into();
        self.rows("list containers", path, decode::container, &mut take).await?;
        Ok(list)
    }

    async fn inspect(&self, container: &str) -> Result<Option<Value>, EngineError> {
        let path = format!("/containers/{}/json", escape(container));
        self.inspect_whole("inspect container", path, podman::complete_container).await
    }

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

    async fn create(
        &self,
        name: &str,
        body: &Value,
        platform: Option<&Platform>,
    ) -> Result<String, EngineError> {
        let mut path = format!("/containers/create?name={}", escape(name));
        if let Some(platform) = platform {
            path = format!("{path}&platform={}", escape(&platform.to_string()));
        }
        let answer = self.post("create container", path, body).await?;
        let id = answer.get("Id").and_then(Value::as_str).map(str::to_owned);
        id.ok_or(EngineError::Garbage { call: "create container", detail: "it has no Id".into() })
    }

    async fn has_network(&self, network: &str) -> Result<bool, EngineError> {
        let path = format!("/networks/{}", escape(network));
        Ok(self.get_if_there("inspect network", path).await?.is_some())
    }

    async fn inspect_volume(&self, volume: &str) -> Result<Option<Value>, EngineError> {
        self.get_if_there("inspect volume", format!("/volumes/{}", escape(volume))).await
    }

    async fn can_mount(&self, container: &str) -> Result<bool, EngineError> {
        let path = format!("/containers/{}/archive?path=/", escape(container));
        self.connection.can_stat("files of a container", &path).await
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

    async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), EngineError> {
        let path = format!("/containers/{}/update", escape(container));
        let body = json!({ "RestartPolicy": policy });
        self.post("update container", path, &body).await.map(|_| ())
    }

    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        let docker = self.connection.bollard(timeout + STOP_MARGIN).await?;
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { signal: None, t: Some(seconds) };
        let answer = docker.stop_container(container, Some(options)).await;
        answer.map_err(|error| convert("stop container", &error))
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let options = KillContainerOptions { signal: signal.to_owned() };
        let answer = docker.kill_container(container, Some(options)).await;
        answer.map_err(|error| convert("kill container", &error))
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let answer = docker.start_container(container, None).await;
        answer.map_err(|error| convert("start container", &error))
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let options = RenameContainerOptions { name: name.to_owned() };
        let answer = docker.rename_container(container, options).await;
        answer.map_err(|error| convert("rename container", &error))
    }

    async fn remove(&self, container: &str, volumes: bool) -> Result<bool, EngineError> {
        let docker = self.connection.bollard(ACT_TIMEOUT).await?;
        let options = RemoveContainerOptions { v: volumes, force: false, link: false };
        let answer = docker.remove_container(container, Some(options)).await;
        was_there(answer.map_err(|error| convert("remove container", &error)))
    }

    async fn logs(&self, container: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        let docker = self.connection.bollard(QUESTION_TIMEOUT).await?;
        let tail = lines.to_string();
        let options = LogsOptions { stdout: true, stderr: true, tail, ..LogsOptions::default() };
        let mut stream = docker.logs(container, Some(options));
        let read = async {
            let mut kept = Vec::new();
            while let Some(line) = stream.next().await {
                let line = line.map_err(|error| convert("container logs", &error))?;
                kept.push(decode::log_line(&line.into_bytes(), LOG_LINE_BYTES_MAX));
            }
            Ok(kept)
        };
        let seconds = json_client::seconds_of(QUESTION_TIMEOUT);
        let out_of_time = EngineError::TimedOut { call: "container logs", seconds };
        tokio::time::timeout(QUESTION_TIMEOUT, read).await.unwrap_or(Err(out_of_time))
    }

    async fn events(
        &self,
        container: &str,
    ) -> Result<BoxStream<'static, ContainerEvent>, EngineError> {
        events::listen(&self.connection, container).await
    }

    async fn changes(&self, container: &str) -> Result<Value, EngineError> {
        self.get("container changes", format!("/containers/{}/changes", escape(container))).await
    }

    async fn modified_at(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<DateTime<Utc>>, EngineError> {
        let path = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        let stat = self.connection.path_stat("file of a container", &path).await?;
        Ok(decode::file_time(&stat))
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
        let path = format!("/volumes/{}", escape(name));
        let (method, timeout) = (Method::DELETE, ACT_TIMEOUT);
        let call = Call { name: "remove volume", method, path, body: None, timeout };
        was_there(self.connection.send(call).await.map(|_| ()))
    }

    async fn exec(
        &self,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<i64, EngineError> {
        let seconds = json_client::seconds_of(timeout);
        let run = self.run_in_container(container, command);
        let out_of_time = EngineError::TimedOut { call: "exec", seconds };
        tokio::time::timeout(timeout, run).await.unwrap_or(Err(out_of_time))
    }
}

fn was_there(answer: Result<(), EngineError>) -> Result<bool, EngineError> {
    match answer {
        Ok(()) => Ok(true),
        Err(EngineError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
