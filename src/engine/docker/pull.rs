//! A pull by digest, with its progress.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};

use super::connection::convert;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::update::event::PullProgress;
use crate::engine::EngineError;

/// How long a pull may say nothing. A registry that stalls must not hold up the others for ever;
/// unpacking a large layer on an SD card says nothing for minutes.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Pulls `reference` at `digest`.
///
/// # Errors
/// The registry or the Engine refuses, the connection breaks, or nothing happens for ten minutes.
pub async fn pull(
    docker: &Docker,
    reference: &Reference,
    digest: &Digest,
    platform: &Platform,
    credentials: Option<Credentials>,
    progress: &(dyn Fn(&PullProgress) + Send + Sync),
) -> Result<(), EngineError> {
    let options = CreateImageOptions {
        from_image: Some(reference.familiar_name()),
        tag: Some(digest.to_string()),
        platform: platform.to_string(),
        ..CreateImageOptions::default()
    };
    let credentials = credentials.map(|credentials| for_bollard(&credentials, reference));
    let mut stream = std::pin::pin!(docker.create_image(Some(options), None, credentials));
    let mut layers = Layers::default();
    loop {
        let seconds = SILENCE_MAX.as_secs();
        let next = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
        let Some(line) = next.map_err(|_| EngineError::TimedOut { call: "pull", seconds })? else {
            return Ok(());
        };
        let line = line.map_err(|error| convert("pull", &error))?;
        if layers.take(&line) {
            progress(&layers.progress());
        }
    }
}

fn for_bollard(credentials: &Credentials, reference: &Reference) -> DockerCredentials {
    let serveraddress = Some(reference.registry.clone());
    let plain = |secret: &SecretString| secret.expose_secret().to_owned();
    match &credentials.identity_token {
        Some(token) => DockerCredentials {
            identitytoken: Some(plain(token)),
            serveraddress,
            ..DockerCredentials::default()
        },
        None => DockerCredentials {
            username: Some(credentials.username.clone()),
            password: Some(plain(&credentials.password)),
            serveraddress,
            ..DockerCredentials::default()
        },
    }
}

/// What the Engine has said about each layer, added up.
#[derive(Default)]
struct Layers {
    layers: BTreeMap<String, Layer>,
}

#[derive(Default)]
struct Layer {
    current: u64,
    total: u64,
    done: bool,
}

impl Layers {
    /// Takes one line into account; says whether anything changed.
    fn take(&mut self, line: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&line.id, &line.status) else { return false };
        if status.starts_with("Pulling from") {
            return false;
        }
        let layer = self.layers.entry(id.clone()).or_default();
        match status.as_str() {
            "Downloading" => {
                let detail = line.progress_detail.as_ref();
                let bytes = |value: Option<i64>| u64::try_from(value.unwrap_or(0)).unwrap_or(0);
                layer.current = bytes(detail.and_then(|detail| detail.current));
                layer.total = bytes(detail.and_then(|detail| detail.total)).max(layer.current);
            }
            "Download complete" => layer.current = layer.total,
            "Pull complete" | "Already exists" => {
                layer.current = layer.total;
                layer.done = true;
            }
            _ => {}
        }
        true
    }

    fn progress(&self) -> PullProgress {
        let mut sum = PullProgress { layers: self.layers.len(), ..PullProgress::default() };
        for layer in self.layers.values() {
            sum.current += layer.current;
            sum.total += layer.total;
            sum.layers_done += usize::from(layer.done);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(bollard::models::ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn the_progress_of_layers_adds_up() {
        let mut layers = Layers::default();
        assert!(!layers.take(&line("v2", "Pulling from shop/till", 0, 0)));
        layers.take(&line("a", "Already exists", 0, 0));
        layers.take(&line("b", "Downloading", 40, 100));
        layers.take(&line("c", "Pulling fs layer", 0, 0));
        let expected = PullProgress { current: 40, total: 100, layers_done: 1, layers: 3 };
        assert_eq!(layers.progress(), expected);
        layers.take(&line("b", "Pull complete", 0, 0));
        assert_eq!(layers.progress().current, 100);
        assert_eq!(layers.progress().layers_done, 2);
    }
}
