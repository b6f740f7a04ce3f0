//! Containers through Docker's API.

use std::time::Duration;

use bollard::query_parameters::{
    KillContainerOptions, LogsOptions, RemoveContainerOptions, RenameContainerOptions,
    RestartContainerOptions, StopContainerOptions,
};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use super::connection::convert;
use super::path::escape;
use super::{
    ACT_TIMEOUT, DockerEngine, QUESTION_TIMEOUT, decode, events, json_client, podman, was_there,
};
use crate::core::docker::reference::Platform;
use crate::core::recreate::RestartPolicy;
use crate::engine::{ContainerEvent, Containers, EngineError, Listed, PathStat};

/// The Engine's extra time after the grace period of a stop: kill, unmount, release of the network.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// Longest line of a container's log that is kept, in bytes.
const LOG_LINE_BYTES_MAX: usize = 2000;

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

impl Containers for DockerEngine {
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

    async fn restart(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        let docker = self.connection.bollard(timeout + STOP_MARGIN).await?;
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let options = RestartContainerOptions { signal: None, t: Some(seconds) };
        let answer = docker.restart_container(container, Some(options)).await;
        answer.map_err(|error| convert("restart container", &error))
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

    async fn can_mount(&self, container: &str) -> Result<bool, EngineError> {
        let path = format!("/containers/{}/archive?path=/", escape(container));
        self.connection.can_stat("files of a container", &path).await
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

    async fn stat(&self, container: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        let call = "path in a container";
        let path = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        let (status, stat) = self.connection.path_status(call, &path).await?;
        match status.as_u16() {
            200 => Ok(Some(PathStat { modified_at: decode::path_time(&stat) })),
            404 => Ok(None),
            // An answer to HEAD has no words.
            status => Err(EngineError::Refused { call, status, message: "no words".into() }),
        }
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
