//! A pull by digest, with its progress.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::connection::convert;
use crate::core::docker::credentials::Credentials;
use crate::core::docker::reference::{Digest, Platform, Reference};
use crate::core::update::event::PullProgress;
use crate::engine::EngineError;

/// How long a pull may send nothing. Unpacking a large layer on an SD card sends nothing for
/// minutes.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(600);

/// The time over which the speed of a pull is measured. A network that fails for some minutes does
/// not end the pull.
const PACE_WINDOW: Duration = Duration::from_secs(600);

/// What a pull must fetch within [`PACE_WINDOW`], in bytes: 500 bytes a second, a tenth of the
/// slowest mobile network. A slower registry would keep the update open without a limit.
const PACE_BYTES_MIN: u64 = 300_000;

/// How long a whole pull may take. At 12 kB a second that is 1 GB.
const PULL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Pulls `reference` at `digest`.
///
/// # Errors
/// The registry or the Engine refuses, the connection breaks, nothing happens for ten minutes, or
/// the pull is slower than 500 bytes a second or takes longer than a day.
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
    let mut pace = Throughput::new(Instant::now());
    loop {
        let next = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
        let Some(line) = next.map_err(|_| pace.too_slow(&layers, SILENCE_MAX))? else {
            return Ok(());
        };
        let line = line.map_err(|error| convert("pull", &error))?;
        if layers.take(&line) {
            progress(&layers.progress());
        }
        pace.check(&layers, Instant::now())?;
    }
}

/// The speed of a pull.
struct Throughput {
    begun: Instant,
    /// When the present window began.
    since: Instant,
    /// The bytes that had been fetched then.
    before: u64,
}

impl Throughput {
    const fn new(now: Instant) -> Self {
        Self { begun: now, since: now, before: 0 }
    }

    /// Whether it is fast enough. While a layer is unpacked, the disk sets the speed, and the
    /// unpacking ends by itself.
    fn check(&mut self, layers: &Layers, now: Instant) -> Result<(), EngineError> {
        let total = now - self.begun;
        if total >= PULL_MAX {
            self.before = 0;
            return Err(self.too_slow(layers, total));
        }
        if now - self.since < PACE_WINDOW {
            return Ok(());
        }
        let fetched = layers.fetched();
        if fetched.saturating_sub(self.before) < PACE_BYTES_MIN && !layers.is_unpacking() {
            return Err(self.too_slow(layers, PACE_WINDOW));
        }
        (self.since, self.before) = (now, fetched);
        Ok(())
    }

    fn too_slow(&self, layers: &Layers, within: Duration) -> EngineError {
        let bytes = layers.fetched().saturating_sub(self.before);
        EngineError::PullTooSlow { bytes, seconds: within.as_secs() }
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

/// The progress of all layers together.
#[derive(Default)]
struct Layers {
    layers: BTreeMap<String, PullingLayer>,
}

#[derive(Default)]
struct PullingLayer {
    current: u64,
    total: u64,
    unpacking: bool,
    done: bool,
}

impl Layers {
    /// Handles one line. Returns whether anything changed.
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
            "Extracting" => layer.unpacking = true,
            "Pull complete" | "Already exists" => {
                layer.current = layer.total;
                layer.done = true;
            }
            _ => {}
        }
        true
    }

    /// The bytes fetched so far.
    fn fetched(&self) -> u64 {
        self.layers.values().fold(0, |sum, layer| sum.saturating_add(layer.current))
    }

    fn is_unpacking(&self) -> bool {
        self.layers.values().any(|layer| layer.unpacking && !layer.done)
    }

    fn progress(&self) -> PullProgress {
        let mut sum = PullProgress { layers: self.layers.len(), ..PullProgress::default() };
        for layer in self.layers.values() {
            sum.current = sum.current.saturating_add(layer.current);
            sum.total = sum.total.saturating_add(layer.total);
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

    #[test]
    fn a_registry_that_drips_is_not_waited_for() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let fetched = |bytes| {
            let mut layers = Layers::default();
            layers.take(&line("a", "Downloading", bytes, 100_000_000));
            layers
        };
        let mut pace = Throughput::new(begun);
        pace.check(&fetched(2_500), at(599)).expect("too early to tell");
        pace.check(&fetched(300_000), at(600)).expect("slow, but not too slow");
        pace.check(&fetched(300_000), at(1_199)).expect("a pause");
        let error = pace.check(&fetched(375_000), at(1_200)).expect_err("2.5 kB in 20 s");
        assert_eq!(error, EngineError::PullTooSlow { bytes: 75_000, seconds: 600 });
        assert!(!error.is_engine_unreachable());
    }

    #[test]
    fn a_disk_that_unpacks_for_long_is_waited_for() {
        let begun = Instant::now();
        let mut layers = Layers::default();
        layers.take(&line("a", "Downloading", 100, 100));
        layers.take(&line("a", "Extracting", 1, 100));
        let mut pace = Throughput::new(begun);
        pace.check(&layers, begun + Duration::from_secs(3_600)).expect("it is being unpacked");
        let error = pace.check(&layers, begun + PULL_MAX).expect_err("a day is enough");
        assert_eq!(error, EngineError::PullTooSlow { bytes: 100, seconds: 86_400 });
    }
}
