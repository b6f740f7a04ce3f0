//! The state that a running agent shares with its servers, and keeps when its configuration
//! changes.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::stop_on_signal;
use crate::agent::{Agent, AgentHandle, Ask, Events, Heartbeat, RoundListener};
use crate::api;
use crate::app::{self, Listeners, RealPorts};
use crate::core::decide::snapshot::Snapshot;
use crate::fleet::{CopyListener, FleetObserver};
use crate::metrics::Metrics;
use crate::mirror::MirrorListener;
use crate::registry::RegistryObserver;
use crate::telemetry::{LogListener, MirrorLog};

/// The state that survives a change of the configuration.
pub(super) struct DaemonState {
    /// What it does before its first round, for `systemctl status`.
    pub(super) idle: &'static str,
    /// Cancelled when the process must end.
    pub(super) stop: CancellationToken,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    pub(super) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(super) agent: AgentHandle,
    pub(super) reload: Notify,
    /// The heartbeat of the agent's loop.
    pub(super) heart: Heartbeat,
    /// The number of this start; read when it is first asked for.
    boot: OnceLock<u64>,
}

impl DaemonState {
    /// The state of a process that runs until it is told to stop, and the queue of the questions
    /// to its agent.
    pub(super) fn new(idle: &'static str) -> anyhow::Result<(Self, mpsc::Receiver<Ask>)> {
        let metrics = Arc::new(Metrics::new().context("cannot set up the metrics")?);
        let events = Events::new(vec![Arc::new(LogListener), metrics.clone()]);
        let (snapshot, heart) = (watch::Sender::new(Arc::default()), Heartbeat::default());
        let (agent, asks) = AgentHandle::new(events.clone(), snapshot.subscribe(), heart.clone());
        let (stop, reload) = (stop_on_signal()?, Notify::new());
        let boot = OnceLock::new();
        Ok((Self { idle, stop, metrics, events, snapshot, agent, reload, heart, boot }, asks))
    }

    pub(super) fn listeners(&self) -> Listeners {
        let metrics = &self.metrics;
        Listeners {
            snapshot: self.snapshot.clone(),
            events: self.events.clone(),
            rounds: Arc::new(CountingObserver(metrics.clone())),
            registries: Arc::new(CountingObserver(metrics.clone())),
        }
    }

    /// The number of this start of the agent. A disk that does not take it is no reason not to run.
    pub(super) fn boot(&self, agent: &Agent<RealPorts>) -> u64 {
        *self.boot.get_or_init(|| {
            agent.count_start().unwrap_or_else(|error| {
                tracing::warn!("the start could not be counted: {error}");
                0
            })
        })
    }

    /// Counts what happens on the connection to the broker.
    pub(super) fn fleet_observer(&self) -> Arc<dyn FleetObserver> {
        Arc::new(CountingObserver(self.metrics.clone()))
    }

    /// Receives what the mirror tells: for the log, the metrics, and the announcer of copies.
    pub(super) fn mirror_listener(&self, copies: CopyListener) -> Arc<dyn MirrorListener> {
        let all: Vec<Arc<dyn MirrorListener>> =
            vec![Arc::new(MirrorLog::default()), self.metrics.clone(), Arc::new(copies)];
        Arc::new(all)
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The data for the listen address.
    pub(super) fn facts(&self) -> api::ApiState {
        let (snapshot, heart) = (self.snapshot.subscribe(), self.heart.clone());
        api::ApiState { snapshot, heart, metrics: self.metrics.clone(), now: app::now }
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }
}

/// Counts rounds and requests.
struct CountingObserver(Arc<Metrics>);

impl RoundListener for CountingObserver {
    fn round(&self, succeeded: bool, took: Duration) {
        self.0.round(succeeded, took);
    }
}

impl FleetObserver for CountingObserver {
    fn connected(&self, is_connected: bool) {
        self.0.mqtt_connected(is_connected);
    }

    fn refused(&self, reason: &str) {
        self.0.mqtt_refused(reason);
    }
}

impl RegistryObserver for CountingObserver {
    fn request(&self, registry: &str, code: &str) {
        self.0.request(registry, code);
    }

    fn rate_limit_remaining(&self, registry: &str, remaining: u64) {
        self.0.rate_limit_remaining(registry, remaining);
    }
}
