//! One connection to the Engine: the negotiated API version, and the two clients that share it.

use std::sync::RwLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::{BollardRequest, ClientVersion, Docker};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::address::{Address, TlsFiles};
use super::json_client::{Call, RawClient, refusal};
use super::{QUESTION_TIMEOUT, decode, podman};
use crate::core::docker::api_version::{ApiVersion, negotiate};
use crate::engine::EngineError;

/// The newest API version in use. From 1.52 on, inspect does not show any more which MAC address
/// the user set; newer Engines accept this version.
const API_NEWEST: ApiVersion = ApiVersion::V1_51;

/// The header in which a pull passes credentials to the Engine.
const REGISTRY_AUTH: &str = "x-registry-auth";

/// The header with the Engine's facts about a path in a container.
const STAT: &str = "x-docker-container-path-stat";

/// The Engine's address, and the negotiated version.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    tls: Option<TlsFiles>,
    raw: RawClient,
    /// `None` until the Engine has answered. Forgotten when it goes away, because it may come back
    /// as a newer version.
    agreed: RwLock<Option<NegotiatedEngine>>,
}

/// What the Engine's first answer said.
#[derive(Debug, Clone, Copy)]
struct NegotiatedEngine {
    /// The negotiated API version.
    api: ApiVersion,
    /// Whether it is Podman, which shows some settings only in its own API.
    is_podman: bool,
}

impl Connection {
    /// A connection that has not been used yet.
    ///
    /// # Errors
    /// The TLS files cannot be read.
    pub fn new(address: Address, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        let raw = RawClient::new(&address, tls.as_ref())?;
        Ok(Self { address, tls, raw, agreed: RwLock::new(None) })
    }

    /// Asks the Engine for its versions, and remembers the one to use. Returns the raw answer.
    ///
    /// # Errors
    /// The Engine does not answer, or the answer is not an Engine's.
    pub async fn negotiate(&self) -> Result<Value, EngineError> {
        let timeout = QUESTION_TIMEOUT;
        let path = "/version".to_owned();
        let call = Call { name: "version", method: Method::GET, path, body: None, timeout };
        let version = self.raw.send("", call).await;
        let versions = version.and_then(|raw| Ok((decode::api_versions(&raw)?, raw)));
        let ((lowest, highest), mut version) = versions.map_err(|error| self.strange(error))?;
        let agreed = negotiate(lowest, highest, API_NEWEST);
        self.remember(Some(NegotiatedEngine {
            api: agreed,
            is_podman: decode::is_podman(&version),
        }));
        if let Some(object) = version.as_object_mut() {
            object.insert("ApiVersion".into(), agreed.to_string().into());
        }
        Ok(version)
    }

    /// A program whose first answer is not an Engine's is not an Engine.
    fn strange(&self, error: EngineError) -> EngineError {
        let what = match &error {
            EngineError::Garbage { detail, .. } | EngineError::Broken { detail, .. } => detail,
            EngineError::NotFound { .. } | EngineError::Conflict { .. } => "it knows no `version`",
            _ => return error,
        };
        let detail = format!(
            "the program that answers there is not an Engine, or is just ending ({what}); \
             another address is set by docker_host or DOCKER_HOST"
        );
        EngineError::Unreachable { host: self.raw.host().to_owned(), detail }
    }

    /// The negotiated API version; asks for it if it is not known.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn api(&self) -> Result<ApiVersion, EngineError> {
        if let Some(agreed) = self.known() {
            return Ok(agreed.api);
        }
        decode::api_versions(&self.negotiate().await?).map(|(_, agreed)| agreed)
    }

    fn known(&self) -> Option<NegotiatedEngine> {
        self.agreed.read().map_or(None, |agreed| *agreed)
    }

    /// Sends a raw call with the negotiated version.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send(&self, call: Call<'_>) -> Result<Value, EngineError> {
        self.send_with_login(call, None).await
    }

    /// The same with a login for a registry, which the Engine passes on.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send_with_login(
        &self,
        call: Call<'_>,
        login: Option<HeaderValue>,
    ) -> Result<Value, EngineError> {
        let prefix = format!("/v{}", self.api().await?);
        let headers = login.map(|login| (HeaderName::from_static(REGISTRY_AUTH), login));
        let answer = self.raw.send_with(&prefix, call, headers.into_iter().collect()).await;
        if answer.as_ref().is_err_and(EngineError::is_engine_unreachable) {
            self.remember(None);
        }
        answer
    }

    /// Sends a call whose answer is a list, and passes on each row as it arrives.
    ///
    /// # Errors
    /// See [`EngineError`]. Some rows may have been passed on before.
    pub async fn send_for_rows(
        &self,
        call: Call<'_>,
        each: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<(), EngineError> {
        let prefix = format!("/v{}", self.api().await?);
        let answer = self.raw.send_for_rows(&prefix, call, each).await;
        if answer.as_ref().is_err_and(EngineError::is_engine_unreachable) {
            self.remember(None);
        }
        answer
    }

    /// Whether the Engine is Podman; `false` if it has not answered yet.
    pub fn is_podman(&self) -> bool {
        self.known().is_some_and(|agreed| agreed.is_podman)
    }

    /// Sends a call to Podman's own API; `None` if the Engine is not Podman.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send_to_podman(&self, call: Call<'_>) -> Result<Option<Value>, EngineError> {
        self.api().await?;
        if !self.is_podman() {
            return Ok(None);
        }
        self.raw.send(podman::PREFIX, call).await.map(Some)
    }

    /// The Engine's facts about a path in a container; `null` if the path does not exist.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn path_stat(&self, name: &'static str, path: &str) -> Result<Value, EngineError> {
        self.path_status(name, path).await.map(|(_, stat)| stat)
    }

    /// The same with the status of the answer.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn path_status(
        &self,
        name: &'static str,
        path: &str,
    ) -> Result<(StatusCode, Value), EngineError> {
        let prefix = format!("/v{}", self.api().await?);
        let (status, stat) = self.raw.head(name, &format!("{prefix}{path}"), STAT).await?;
        let decoded = stat.and_then(|stat| STANDARD.decode(stat).ok());
        let stat = decoded.and_then(|stat| serde_json::from_slice(&stat).ok()).unwrap_or_default();
        Ok((status, stat))
    }

    /// Whether the Engine can reach a path in a container. For this the Engine mounts what the
    /// container mounts. A proxy that refuses the call, or an Engine that takes too long, gives no
    /// information, and that counts as yes.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn can_stat(&self, name: &'static str, path: &str) -> Result<bool, EngineError> {
        let prefix = format!("/v{}", self.api().await?);
        match self.raw.head(name, &format!("{prefix}{path}"), STAT).await {
            Ok((status, _)) => {
                Ok(status != StatusCode::NOT_FOUND && status != StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(EngineError::TimedOut { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The raw client and the path prefix, for answers that are streams.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn raw(&self) -> Result<(&RawClient, String), EngineError> {
        Ok((&self.raw, format!("/v{}", self.api().await?)))
    }

    /// A bollard client with this time-out for the head of each answer.
    ///
    /// # Errors
    /// The Engine does not answer.
    pub async fn bollard(&self, timeout: Duration) -> Result<Docker, EngineError> {
        let api = self.api().await?;
        let docker =
            self.connect(api, timeout.as_secs()).map_err(|error| convert("connect", &error))?;
        Ok(docker.with_request_modifier(move |request| repair(request, api)))
    }

    fn connect(&self, api: ApiVersion, seconds: u64) -> Result<Docker, bollard::errors::Error> {
        let version = ClientVersion {
            major_version: usize::try_from(api.major).unwrap_or(1),
            minor_version: usize::try_from(api.minor).unwrap_or(0),
        };
        match (&self.address, &self.tls) {
            (Address::Unix(path), _) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, &version)
            }
            (Address::Tcp(host), None) => Docker::connect_with_http(host, seconds, &version),
            (Address::Tcp(host), Some(tls)) => Docker::connect_with_ssl(
                host,
                &tls.key,
                &tls.certificate,
                &tls.ca,
                seconds,
                &version,
            ),
        }
    }

    fn remember(&self, agreed: Option<NegotiatedEngine>) {
        if let Ok(mut known) = self.agreed.write() {
            *known = agreed;
        }
    }
}

/// Adds the API version to the path, and encodes the credentials with the alphabet that the Engine
/// decodes (bollard 0.21.1 does neither).
fn repair(mut request: BollardRequest, api: ApiVersion) -> BollardRequest {
    if let Some(uri) = with_version(request.uri(), api) {
        *request.uri_mut() = uri;
    }
    let repaired = request.headers().get(REGISTRY_AUTH).and_then(|value| {
        let decoded = STANDARD.decode(value.as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(&URL_SAFE.encode(decoded)).ok()?;
        value.set_sensitive(true);
        Some(value)
    });
    if let Some(value) = repaired {
        request.headers_mut().insert(REGISTRY_AUTH, value);
    }
    request
}

fn with_version(uri: &axum::http::Uri, api: ApiVersion) -> Option<axum::http::Uri> {
    let old = uri.path_and_query()?.as_str();
    if old.starts_with("/v1.") {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("/v{api}{old}").parse().ok()?);
    axum::http::Uri::from_parts(parts).ok()
}

/// Converts bollard's errors to ours.
pub fn convert(call: &'static str, error: &bollard::errors::Error) -> EngineError {
    use bollard::errors::Error as B;
    match error {
        B::DockerResponseServerError { status_code: 304, .. } => {
            EngineError::Garbage { call, detail: "an unexpected 304".into() }
        }
        B::DockerResponseServerError { status_code, message } => {
            refusal(call, *status_code, message)
        }
        B::DockerStreamError { error } => refusal(call, 500, error),
        // The time-out depends on the call, and is not known here.
        B::RequestTimeoutError => {
            EngineError::Broken { call, detail: "it did not answer in time".into() }
        }
        B::SocketNotFoundError(path) => EngineError::Unreachable {
            host: format!("unix://{path}"),
            detail: "there is no such socket".into(),
        },
        B::JsonDataError { message, .. } => EngineError::Garbage { call, detail: message.clone() },
        other => EngineError::Broken { call, detail: other.to_string() },
    }
}
