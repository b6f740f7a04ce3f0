//! Plain JSON over the Engine's socket, for answers that must arrive unchanged.

use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

use super::address::{Address, TlsFiles};
use super::label_reader::LabelReader;
use super::row_reader::{ListError, RowReader};
use crate::engine::EngineError;

/// Longest answer that is read as a whole, without the labels that a [`LabelReader`] leaves out. An
/// inspect document has some 10 kB. Lists are read row by row.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long the head of an answer may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for the Engine's HTTP API.
#[derive(Debug, Clone)]
pub struct RawClient {
    client: Client,
    base: String,
    host: String,
}

/// One request.
pub struct Call<'a> {
    /// Its name in an error.
    pub name: &'static str,
    /// `GET`, `POST` or `DELETE`.
    pub method: Method,
    /// The path after the API version, with the query.
    pub path: String,
    /// The body, for `POST`.
    pub body: Option<&'a Value>,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl RawClient {
    /// A client for this address. It has not connected yet.
    ///
    /// # Errors
    /// The TLS files cannot be read, or are invalid.
    pub fn new(address: &Address, tls: Option<&TlsFiles>) -> Result<Self, EngineError> {
        let host = address.to_string();
        let wrong = |detail: String| EngineError::Unreachable { host: host.clone(), detail };
        // Each call gets its own connection: an open connection still answers while the Engine is
        // shutting down, and would hide the shutdown.
        let builder = Client::builder().no_proxy().http1_only().pool_max_idle_per_host(0);
        let (builder, base) = match (address, tls) {
            (Address::Unix(path), _) => {
                let builder = builder.unix_socket(path.as_path());
                (with_tls(builder, None).map_err(wrong)?, "http://engine".to_owned())
            }
            (Address::Tcp(authority), None) => {
                (with_tls(builder, None).map_err(wrong)?, format!("http://{authority}"))
            }
            (Address::Tcp(authority), Some(files)) => {
                (with_tls(builder, Some(files)).map_err(wrong)?, format!("https://{authority}"))
            }
        };
        let client = builder.build().map_err(|error| wrong(root_cause(&error)))?;
        Ok(Self { client, base, host })
    }

    /// Sends a call and reads its answer as JSON; an empty answer is `null`.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send(&self, prefix: &str, call: Call<'_>) -> Result<Value, EngineError> {
        self.send_with(prefix, call, HeaderMap::new()).await
    }

    /// The same with more headers.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn send_with(
        &self,
        prefix: &str,
        call: Call<'_>,
        headers: HeaderMap,
    ) -> Result<Value, EngineError> {
        let seconds = seconds_of(call.timeout);
        match tokio::time::timeout(call.timeout, self.exchange(prefix, &call, headers)).await {
            Ok(answer) => answer,
            Err(_) => Err(EngineError::TimedOut { call: call.name, seconds }),
        }
    }

    /// Sends a call whose answer is a list, and passes on each row as it arrives.
    ///
    /// # Errors
    /// See [`EngineError`]. Some rows may have been passed on before.
    pub async fn send_for_rows(
        &self,
        prefix: &str,
        call: Call<'_>,
        each: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<(), EngineError> {
        let seconds = seconds_of(call.timeout);
        match tokio::time::timeout(call.timeout, self.exchange_rows(prefix, &call, each)).await {
            Ok(answer) => answer,
            Err(_) => Err(EngineError::TimedOut { call: call.name, seconds }),
        }
    }

    async fn exchange_rows(
        &self,
        prefix: &str,
        call: &Call<'_>,
        each: &mut (dyn FnMut(&Value) + Send),
    ) -> Result<(), EngineError> {
        let mut response = self.open(prefix, call, HeaderMap::new()).await?;
        let status = response.status();
        if !status.is_success() {
            let bytes = self.read(call, &mut response).await?;
            return Err(refusal(call.name, status.as_u16(), &message(&bytes)));
        }
        let garbage = |detail: String| EngineError::Garbage { call: call.name, detail };
        let unreadable = |error: ListError| garbage(error.to_string());
        let (mut labels, mut rows) = (LabelReader::default(), RowReader::default());
        let mut broken = None;
        let mut parse = |row: &[u8]| match serde_json::from_slice(row) {
            Ok(row) => each(&row),
            Err(error) => broken = Some(error.to_string()),
        };
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(call.name, &e))? {
            labels.take(&chunk);
            rows.take(labels.so_far(), &mut parse).map_err(unreadable)?;
            labels.forget();
        }
        rows.end().map_err(unreadable)?;
        broken.map_or(Ok(()), |detail| Err(garbage(detail)))
    }

    async fn exchange(
        &self,
        prefix: &str,
        call: &Call<'_>,
        headers: HeaderMap,
    ) -> Result<Value, EngineError> {
        let mut response = self.open(prefix, call, headers).await?;
        let status = response.status();
        let bytes = self.read(call, &mut response).await?;
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return parse(call.name, &bytes);
        }
        Err(refusal(call.name, status.as_u16(), &message(&bytes)))
    }

    /// Sends a call; returns when the head of the answer has arrived.
    async fn open(
        &self,
        prefix: &str,
        call: &Call<'_>,
        headers: HeaderMap,
    ) -> Result<Response, EngineError> {
        let url = format!("{}{prefix}{}", self.base, call.path);
        let mut request = self.client.request(call.method.clone(), url).headers(headers);
        if let Some(body) = call.body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| self.failed(call.name, &error))
    }

    /// The whole body of an answer.
    async fn read(&self, call: &Call<'_>, response: &mut Response) -> Result<Vec<u8>, EngineError> {
        let mut labels = LabelReader::default();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(call.name, &e))? {
            labels.take(&chunk);
            if labels.so_far().len() > ANSWER_BYTES_MAX {
                let detail = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(EngineError::Garbage { call: call.name, detail });
            }
        }
        Ok(labels.into_bytes())
    }

    /// The status and one header of an answer without a body. The header is `None` if it, or the
    /// subject of the call, does not exist.
    ///
    /// # Errors
    /// The Engine does not answer in time.
    pub async fn head(
        &self,
        call: &'static str,
        path: &str,
        header: &str,
    ) -> Result<(StatusCode, Option<String>), EngineError> {
        let request = self.client.head(format!("{}{path}", self.base)).timeout(HEAD_TIMEOUT);
        let response = request.send().await.map_err(|error| self.failed(call, &error))?;
        let value = response.headers().get(header).and_then(|value| value.to_str().ok());
        Ok((response.status(), value.map(str::to_owned)))
    }

    /// Sends a call whose answer has no known end, and returns its bytes as they arrive. Returns
    /// when the Engine has sent the head of its answer. With a body it is a `POST`.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn stream(
        &self,
        call: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<impl Stream<Item = Result<Bytes, reqwest::Error>> + use<>, EngineError> {
        let url = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => self.client.post(url).json(body).send(),
            None => self.client.get(url).send(),
        };
        let seconds = seconds_of(HEAD_TIMEOUT);
        let response = match tokio::time::timeout(HEAD_TIMEOUT, request).await {
            Ok(response) => response.map_err(|error| self.failed(call, &error))?,
            Err(_) => return Err(EngineError::TimedOut { call, seconds }),
        };
        if !response.status().is_success() {
            return Err(refusal(call, response.status().as_u16(), "no stream"));
        }
        Ok(response.bytes_stream())
    }

    /// Sends a body whose end is not known, and returns the bytes of the answer as they arrive. The
    /// caller limits the time, because it is not known how long the body takes.
    ///
    /// # Errors
    /// See [`EngineError`]. An error of the body breaks the request off.
    pub async fn upload(
        &self,
        call: &'static str,
        path: &str,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<Bytes, reqwest::Error>>, EngineError> {
        let request = self.client.post(format!("{}{path}", self.base));
        let request = request
            .header(CONTENT_TYPE, "application/x-tar")
            .body(reqwest::Body::wrap_stream(body));
        let mut response = request.send().await.map_err(|error| self.failed(call, &error))?;
        if response.status().is_success() {
            return Ok(response.bytes_stream().boxed());
        }
        let call = Call {
            name: call,
            method: Method::POST,
            path: String::new(),
            body: None,
            timeout: HEAD_TIMEOUT,
        };
        let bytes = self.read(&call, &mut response).await?;
        Err(refusal(call.name, response.status().as_u16(), &message(&bytes)))
    }

    /// Where the Engine is, as the user wrote it.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn failed(&self, call: &'static str, error: &reqwest::Error) -> EngineError {
        let detail = root_cause(error);
        if error.is_connect() {
            let detail = with_advice(&detail);
            return EngineError::Unreachable { host: self.host.clone(), detail };
        }
        EngineError::Broken { call, detail }
    }
}

/// What to do if the socket cannot be opened.
fn with_advice(detail: &str) -> String {
    let advice = if detail.contains("Permission denied") {
        "run as root, or as a member of the group that owns the socket"
    } else if detail.contains("No such file") {
        "is the Engine installed and running? Another address is set by docker_host or DOCKER_HOST"
    } else if detail.contains("Connection refused") {
        "is the Engine running?"
    } else {
        return detail.to_owned();
    };
    format!("{detail} ({advice})")
}

fn parse(call: &'static str, bytes: &[u8]) -> Result<Value, EngineError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| EngineError::Garbage { call, detail: error.to_string() })
}

fn message(bytes: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    let text = parsed.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
    text.map_or_else(|| String::from_utf8_lossy(bytes).trim().to_owned(), str::to_owned)
}

/// A time-out for an error, in whole seconds, rounded up.
pub fn seconds_of(timeout: Duration) -> u64 {
    timeout.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// The kind of a refusal, by its status.
pub fn refusal(call: &'static str, status: u16, message: &str) -> EngineError {
    let message = message.to_owned();
    match status {
        404 => EngineError::NotFound { message },
        409 => EngineError::Conflict { message },
        _ => EngineError::Refused { call, status, message },
    }
}

/// The innermost cause of an error. The outer ones name URLs and clients that no user knows.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A TLS configuration of our own, even if none is needed: reqwest's default asks the system for
/// its certificates, and an image `FROM scratch` has none.
fn with_tls(
    builder: reqwest::ClientBuilder,
    files: Option<&TlsFiles>,
) -> Result<reqwest::ClientBuilder, String> {
    let config = match files {
        None => rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
        Some(files) => client_config(files)?,
    };
    Ok(builder.tls_backend_preconfigured(config))
}

fn client_config(files: &TlsFiles) -> Result<rustls::ClientConfig, String> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let wrong = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(path, &error))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&files.ca)?);
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&files.certificate)?, key)
        .map_err(|error| error.to_string())
}
