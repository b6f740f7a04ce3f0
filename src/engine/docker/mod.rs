//! The adapter for Docker's API.
//!
//! bollard does actions and streams (pull, start, stop, logs, exec, …). Answers that must arrive
//! unchanged use raw JSON, because of four facts about bollard 0.21.1, each covered by a test in
//! `tests/bollard.rs`: inspect drops unknown fields, one unknown enum value fails a whole list, the
//! API version is never sent, and `X-Registry-Auth` is written with the wrong base64 alphabet. The
//! request modifier corrects the last two.

pub mod address;
mod connection;
mod containers;
mod events;
mod images;
mod networks;
mod podman;
mod load;
mod pull;
mod json_client;
mod decode;
mod label_reader;
mod path;
mod row_reader;
mod services;
mod volumes;

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::engine::{Engine, EngineError, EngineInfo};
use address::{Address, TlsFiles};
use connection::Connection;
use json_client::Call;

/// How long a question may take. It is long, because an SD card under load answers an inspect in
/// seconds.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an action without a grace period may take: create and remove use the disk.
const ACT_TIMEOUT: Duration = Duration::from_secs(180);

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

    async fn delete(&self, name: &'static str, path: String) -> Result<bool, EngineError> {
        let (method, timeout) = (Method::DELETE, ACT_TIMEOUT);
        let call = Call { name, method, path, body: None, timeout };
        was_there(self.connection.send(call).await.map(|_| ()))
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

impl Engine for DockerEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        let version = self.connection.negotiate().await?;
        let info = self.get("info", "/info".into()).await?;
        Ok(decode::engine_info(&version, &info))
    }
}

fn was_there(answer: Result<(), EngineError>) -> Result<bool, EngineError> {
    match answer {
        Ok(()) => Ok(true),
        Err(EngineError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
