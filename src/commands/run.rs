//! `pilotfish run`: the agent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Exit, Setting, Several, stop_on_signal, systemd};
use crate::agent::RoundListener;
use crate::api;
use crate::app::{self, Listeners};
use crate::metrics::Metrics;
use crate::registry::RegistryObserver;
use crate::telemetry::LogListener;

/// Checks on schedule until it is told to stop. The address is taken before anything else is done,
/// so that a second agent fails early.
pub async fn run(setting: &Setting) -> anyhow::Result<Exit> {
    let settings = &setting.settings;
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::new().context("cannot set up the metrics")?);
    let listeners = Listeners {
        events: Arc::new(Several(vec![Arc::new(LogListener), metrics.clone()])),
        rounds: Arc::new(Counted(metrics.clone())),
        registries: Arc::new(Counted(metrics.clone())),
    };
    let mut agent = app::agent(settings, listeners, stop.clone())?;
    let tasks = TaskTracker::new();
    if let Some(address) = settings.listen_address {
        let listener = api::bind(address).await?;
        let facts = api::Facts { snapshot: agent.snapshots(), metrics };
        tasks.spawn(serve(listener, facts, stop.clone()));
    }
    tasks.spawn(systemd::tell(agent.snapshots(), stop.clone()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        docker_host = %settings.docker_host,
        schedule = %settings.schedule,
        "pilotfish runs"
    );
    agent.run().await;
    tasks.close();
    tasks.wait().await;
    tracing::info!("pilotfish ends");
    Ok(Exit::Done)
}

async fn serve(listener: TcpListener, facts: api::Facts, stop: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    }
    api::serve(listener, api::router(facts), api::Limits::DEFAULT, stop).await;
}

/// Counts rounds and requests.
struct Counted(Arc<Metrics>);

impl RoundListener for Counted {
    fn round(&self, succeeded: bool, took: Duration) {
        self.0.round(succeeded, took);
    }
}

impl RegistryObserver for Counted {
    fn request(&self, registry: &str, code: &str) {
        self.0.request(registry, code);
    }

    fn rate_limit_remaining(&self, registry: &str, remaining: u64) {
        self.0.rate_limit_remaining(registry, remaining);
    }
}
