//! The push API of a device, as its client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use reqwest::{Body, Client, Response, header};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::core::push::device_url::DeviceUrl;
use crate::documents::{AnswerLine, LayersDocument, RefusalDocument};
use crate::output::one_line;

/// How long a connection to the device may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the device may take to say which layers it has.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest line of an answer: a record with the log of a failed container.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Longest refusal in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// A device.
pub(super) struct Device {
    client: Client,
    /// The address of the deployment.
    url: String,
}

/// An answer without success.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeviceError {
    /// The device refused, with a word of its list.
    #[error("the device refuses: {} ({})", one_line(.0.detail.as_str()), one_line(.0.error.as_str()))]
    Refused(RefusalDocument),
    #[error("cannot reach {url}: {why}")]
    Unreachable { url: String, why: String },
    /// The connection ended before the update did.
    #[error(
        "the connection ended before the device was done; it goes on by itself, and \
         `pilotfish history` there shows the result"
    )]
    Ended,
    #[error("the answer is not that of a push API (status {0})")]
    Strange(u16),
}

impl Device {
    pub(super) fn new(url: &DeviceUrl, name: &str, certificates: &Path) -> anyhow::Result<Self> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || !name.chars().all(is_word) {
            bail!("`{}` is not the name of a deployment", one_line(name));
        }
        let tls = tls(certificates)?;
        let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy();
        let client = builder
            .connect_timeout(CONNECT_TIMEOUT)
            .http1_only()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot use these certificates")?;
        Ok(Self { client, url: format!("{url}/v1/deployments/{name}") })
    }

    /// Which layers the device has.
    pub(super) async fn layers(&self) -> Result<LayersDocument, DeviceError> {
        let request = self.client.get(format!("{}/layers", self.url)).timeout(ANSWER_TIMEOUT);
        let response = self.checked(request.send().await).await?;
        let status = response.status().as_u16();
        response.json().await.map_err(|_| DeviceError::Strange(status))
    }

    /// Sends an archive; the answer has the lines of its update.
    pub(super) async fn load(
        &self,
        body: Body,
        size: Option<u64>,
        force: bool,
    ) -> Result<Response, DeviceError> {
        let query = if force { "?force=1" } else { "" };
        let mut request = self.client.put(format!("{}/load{query}", self.url)).body(body);
        if let Some(size) = size {
            request = request.header(header::CONTENT_LENGTH, size);
        }
        self.checked(request.send().await).await
    }

    async fn checked(
        &self,
        response: Result<Response, reqwest::Error>,
    ) -> Result<Response, DeviceError> {
        let response = response.map_err(|error| DeviceError::Unreachable {
            url: self.url.clone(),
            why: root_cause(&error),
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut parts = response.bytes_stream();
        while let Some(Ok(part)) = parts.next().await {
            body.extend_from_slice(&part);
            if body.len() > REFUSAL_BYTES_MAX {
                return Err(DeviceError::Strange(status));
            }
        }
        match serde_json::from_slice(&body) {
            Ok(refusal) => Err(DeviceError::Refused(refusal)),
            Err(_) => Err(DeviceError::Strange(status)),
        }
    }
}

/// The alerts of TLS 1.3 arrive as the error of the first read.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let said = cause.to_string();
    let advice = if said.contains("CertificateRequired") || said.contains("UnknownCA") {
        "; the device does not know the authority of client.crt (push.client_ca_file)"
    } else if said.contains("CertificateRevoked") || said.contains("CertificateUnknown") {
        "; the device does not accept client.crt: it is revoked, or its revocation list is old"
    } else if said.contains("CertificateExpired") {
        "; client.crt is expired, or not valid yet by the clock of the device"
    } else {
        ""
    };
    one_line(&format!("{said}{advice}"))
}

fn tls(directory: &Path) -> anyhow::Result<ClientConfig> {
    let file = |name: &str| directory.join(name);
    let certificates = |name: &str| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let path = file(name);
        let found = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
        let found: Vec<_> = found.with_context(|| format!("cannot read {}", path.display()))?;
        if found.is_empty() {
            bail!("{} has no certificate", path.display());
        }
        Ok(found)
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.crt")? {
        let path = file("ca.crt");
        roots.add(certificate).with_context(|| format!("cannot use {}", path.display()))?;
    }
    let path = file("client.key");
    let key = PrivateKeyDer::from_pem_file(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("client.crt")?, key)
        .context("client.crt and client.key cannot be used together")
}

/// Passes each line on until the last one, which is the result.
pub(super) async fn follow(
    response: Response,
    mut show: impl FnMut(AnswerLine),
) -> Result<serde_json::Value, DeviceError> {
    let mut parts = response.bytes_stream();
    let mut pending = Vec::new();
    while let Some(Ok(part)) = parts.next().await {
        pending.extend_from_slice(&part);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(AnswerLine::Answer(answer)) => return Ok(answer),
                Ok(AnswerLine::Failed(detail)) => {
                    let (error, detail) = detail.split_once(": ").unwrap_or(("failed", &detail));
                    let (error, detail) = (error.to_owned(), detail.to_owned());
                    return Err(DeviceError::Refused(RefusalDocument { error, detail }));
                }
                Ok(line) => show(line),
                // A newer device tells more.
                Err(_) => {}
            }
        }
        if pending.len() > LINE_BYTES_MAX {
            return Err(DeviceError::Strange(200));
        }
    }
    Err(DeviceError::Ended)
}
