//! The composition root: builds the agent with its real ports from the settings. Only this module
//! names concrete adapters.

mod deployments;
mod fleet;
mod mirror;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, AgentSettings, Events, RoundListener};
use crate::api::AllowedHosts;
use crate::config::{DockerHost, RegistryHostSettings, Settings};
use crate::core::decide::EngineEndpoint;
use crate::core::decide::snapshot::Snapshot;
use crate::core::deployment::Deployments;
use crate::core::docker::authority::in_brackets;
use crate::core::policy::PolicyDefaults;
use crate::core::time::schedule::DeviceFraction;
use crate::core::update::event::{Event, Trigger};
use crate::core::update::self_update::SelfUpdate;
use crate::engine::docker::DockerEngine;
use crate::engine::docker::address::{Address, TlsFiles};
use crate::host::{self, Host, RealHost};
use crate::journal::{AuditLog, JournalError, RealDisk, StateDirectory};
use crate::ports::AllPorts;
use crate::registry::{HostSettings, HttpRegistry, RegistryObserver, RegistrySettings};

pub use deployments::{definition_of, deployments};
pub use fleet::{
    BridgeConnection, FleetConnection, OperatorConnection, RealSink, bridge, fleet, mirror_broker,
    operator,
};
pub use mirror::{RealMirrorPorts, mirror, mirror_owner, mirror_reader};

/// The ports of the real program.
pub type RealPorts = AllPorts<DockerEngine, HttpRegistry, RealDisk, RealHost>;

/// The receivers of the agent's reports.
#[derive(Clone)]
pub struct Listeners {
    /// The state of the agent.
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    /// Events of updates.
    pub events: Arc<Events>,
    /// Ends of rounds.
    pub rounds: Arc<dyn RoundListener>,
    /// Requests to registries.
    pub registries: Arc<dyn RegistryObserver>,
}

/// The agent, with the state directory locked.
///
/// # Errors
/// The state directory cannot be used, or a setting is invalid.
pub fn agent(
    settings: &Settings,
    deployments: Arc<Deployments>,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let state = StateDirectory::open(&settings.state_dir)?;
    agent_with(settings, (state, deployments), listeners, stop)
}

/// An agent that changes nothing in the state directory.
///
/// # Errors
/// The state directory cannot be read, or a setting is invalid.
pub fn reader(
    settings: &Settings,
    deployments: Arc<Deployments>,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let state = reading(&settings.state_dir)?;
    agent_with(settings, (state, deployments), listeners, stop)
}

/// Checks that the state directory could be opened, without changing anything.
///
/// # Errors
/// It belongs to a newer version, cannot be read, or is in use; its holder is named.
pub fn check_state(state_dir: &Path) -> anyhow::Result<()> {
    Ok(StateDirectory::check(state_dir)?)
}

/// Whether the error says that another process works with the state directory.
#[must_use]
pub fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(JournalError::InUse { .. }))
}

/// The self-update that was requested.
///
/// # Errors
/// The state directory cannot be read.
pub fn self_update(state_dir: &Path) -> anyhow::Result<Option<SelfUpdate>> {
    Ok(reading(state_dir)?.self_update()?)
}

/// Whether the program runs in a container. Its mounts are those of its start.
#[must_use]
pub fn is_in_container() -> bool {
    RealHost::default().own_container().is_some()
}

/// The host names under which this machine answers.
#[must_use]
pub fn hosts(settings: &Settings) -> AllowedHosts {
    AllowedHosts::new(Some(&host::name()), &settings.listen_hosts)
}

/// The name of this machine, for people.
#[must_use]
pub fn host_name() -> String {
    host::name().trim().to_owned()
}

/// The audit of the push API.
#[must_use]
pub fn audit(settings: &Settings) -> AuditLog {
    AuditLog::new(Arc::new(RealDisk), &settings.state_dir)
}

/// The state directory, opened for reading.
///
/// # Errors
/// It cannot be read.
pub fn reading(state_dir: &Path) -> anyhow::Result<StateDirectory<RealDisk>> {
    Ok(StateDirectory::reading(state_dir)?)
}

fn agent_with(
    settings: &Settings,
    (state, deployments): (StateDirectory<RealDisk>, Arc<Deployments>),
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let world = AllPorts {
        engine: engine(settings)?,
        registry: registry(settings, listeners.registries)?,
        state,
        host: RealHost::default(),
    };
    let agent_settings = agent_settings(settings, deployments, &world.host);
    let Listeners { snapshot, events, rounds, .. } = listeners;
    for note in world.state.notes() {
        let warning = Event::Warning { subject: None, detail: note.clone() };
        events.publish(world.host.now(), Trigger::Schedule, warning);
    }
    let mqtt = settings.mqtt.as_ref();
    let membership = mqtt.map(|mqtt| fleet::membership(settings, mqtt, &world.host)).transpose()?;
    let agent = Agent::new(Arc::new(world), agent_settings, events, rounds, snapshot, stop);
    Ok(match membership {
        Some(membership) => agent.with_fleet(membership)?,
        None => agent,
    })
}

fn agent_settings(
    settings: &Settings,
    deployments: Arc<Deployments>,
    host: &impl Host,
) -> AgentSettings {
    AgentSettings {
        defaults: PolicyDefaults { deployments, ..settings.policy_defaults() },
        schedule: settings.schedule.clone(),
        jitter: settings.jitter,
        device: DeviceFraction::from_identity(&host.machine_id()),
        zone: settings.time_zone.clone(),
        pull_parallel: settings.pull_parallel,
        update_parallel: settings.update_parallel,
        pull_window: settings.pull_window.clone(),
        engine_endpoint: match &settings.docker_host {
            DockerHost::Unix(_) => None,
            DockerHost::Tcp { host, port } => {
                Some(EngineEndpoint { host: host.clone(), port: *port })
            }
        },
    }
}

/// The time of day.
#[must_use]
pub fn now() -> DateTime<Utc> {
    RealHost::default().now()
}

fn engine(settings: &Settings) -> anyhow::Result<DockerEngine> {
    let address = match &settings.docker_host {
        DockerHost::Unix(path) => Address::Unix(path.clone()),
        DockerHost::Tcp { host, port } => {
            Address::Tcp(format!("{}:{port}", in_brackets(Some(host))))
        }
    };
    let tls = settings.docker_tls.as_ref().map(|tls| TlsFiles::in_directory(&tls.cert_path));
    DockerEngine::new(address, tls).context("cannot use docker_host")
}

fn registry(
    settings: &Settings,
    observer: Arc<dyn RegistryObserver>,
) -> anyhow::Result<HttpRegistry> {
    let hosts = settings.registries.iter();
    let hosts = hosts.map(|(name, host)| (name.clone(), host_settings(host))).collect();
    let settings = RegistrySettings { hosts, ..RegistrySettings::default() };
    HttpRegistry::new(settings, observer).context("cannot use a setting under [registries]")
}

fn host_settings(host: &RegistryHostSettings) -> HostSettings {
    let RegistryHostSettings { ca_file, plain_http, mirrors, username, password_file } =
        host.clone();
    HostSettings { ca_file, plain_http, mirrors, username, password_file }
}
