//! The composition root: builds the agent with its real ports from the settings. The only file that
//! names concrete adapters.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, AgentSettings, Events, RoundListener};
use crate::api::AllowedHosts;
use crate::broker::{
    BrokerEvents, BrokerLogin, BrokerSettings, BrokerTask, MqttBroker, TopicSubscription,
};
use crate::config::{DockerHost, MqttSettings, RegistryHostSettings, Settings};
use crate::core::decide::EngineEndpoint;
use crate::core::decide::snapshot::Snapshot;
use crate::core::docker::authority::in_brackets;
use crate::core::fleet::home_assistant;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::Roster;
use crate::core::fleet::state::FleetMembership;
use crate::core::fleet::topic::Topics;
use crate::core::time::schedule::DeviceFraction;
use crate::core::update::event::{Event, Trigger};
use crate::core::update::self_update::SelfUpdate;
use crate::engine::docker::DockerEngine;
use crate::engine::docker::address::{Address, TlsFiles};
use crate::fleet::FleetDevice;
use crate::host::{self, Host, RealHost};
use crate::journal::{JournalError, RealDisk, StateDirectory};
use crate::ports::AllPorts;
use crate::registry::{HostSettings, HttpRegistry, RegistryObserver, RegistrySettings};

/// Characters of a client ID that every broker accepts (MQTT 5, 3.1.3.1).
const CLIENT_ID_LENGTH: usize = 23;

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
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let state = StateDirectory::open(&settings.state_dir)?;
    agent_with(settings, state, listeners, stop)
}

/// An agent that changes nothing in the state directory.
///
/// # Errors
/// The state directory cannot be read, or a setting is invalid.
pub fn reader(
    settings: &Settings,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let state = reading(&settings.state_dir)?;
    agent_with(settings, state, listeners, stop)
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

/// The connection to the broker, and this device in its fleet.
pub struct FleetConnection {
    pub broker: MqttBroker,
    pub task: BrokerTask,
    pub events: BrokerEvents,
    pub device: FleetDevice,
}

/// The connection to the broker of the settings, not yet begun. `boot` counts the starts of the
/// agent.
///
/// # Errors
/// The device has no name that can be used, or no place in its fleet.
pub fn fleet(
    settings: &Settings,
    mqtt: &MqttSettings,
    boot: u64,
) -> anyhow::Result<FleetConnection> {
    let FleetMembership { device: name, roster, rollout, discovery_prefix, .. } =
        membership(settings, mqtt, &RealHost::default())?;
    let device = FleetDevice {
        topics: Topics::new(&mqtt.fleet),
        name,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot,
        takes_commands: mqtt.commands,
        is_staged: rollout.is_some(),
        discovery_prefix,
        fleet_size: roster.as_ref().map_or(1, Roster::size),
    };
    let broker_settings = BrokerSettings {
        last_will: Some(device.last_will()),
        subscriptions: device.subscriptions(),
        fleet_size: device.fleet_size,
        ..client_settings(mqtt, device.name.as_str())
    };
    if let Some(warning) = roster.as_ref().and_then(Roster::warning) {
        tracing::warn!("{warning}");
    }
    let (broker, task, events) = MqttBroker::new(broker_settings);
    Ok(FleetConnection { broker, task, events, device })
}

/// The connection of a bridge to the broker.
pub struct BridgeConnection {
    pub broker: MqttBroker,
    pub task: BrokerTask,
    pub events: BrokerEvents,
    pub topics: Topics,
    /// Its name in announcements.
    pub name: String,
}

/// The client ID of a bridge without `device.name`. With mutual TLS the broker uses the name in the
/// certificate.
const BRIDGE_NAME: &str = "bridge";

/// The connection of a bridge to the broker of the settings, not yet begun.
#[must_use]
pub fn bridge(settings: &Settings, mqtt: &MqttSettings) -> BridgeConnection {
    let name = settings.device_name.as_ref().map_or(BRIDGE_NAME, DeviceName::as_str).to_owned();
    let (broker, task, events) = MqttBroker::new(client_settings(mqtt, &name));
    BridgeConnection { broker, task, events, topics: Topics::new(&mqtt.fleet), name }
}

/// The device as a member of its fleet.
fn membership(
    settings: &Settings,
    mqtt: &MqttSettings,
    host: &RealHost,
) -> anyhow::Result<FleetMembership> {
    let device = device_name(settings, host)?;
    if mqtt.home_assistant.is_some() && !home_assistant::takes_name(&device) {
        bail!(
            "Home Assistant does not find a device with a dot in its name, {device}: set \
             device.name, or empty mqtt.home_assistant"
        );
    }
    Ok(FleetMembership {
        fleet: mqtt.fleet.clone(),
        takes_commands: mqtt.commands,
        discovery_prefix: mqtt.home_assistant.clone(),
        roster: settings.fleet.roster(&device)?,
        rollout: settings.fleet.rollout(&device).map_err(anyhow::Error::msg)?,
        device,
    })
}

/// The name of this device: the configured one, or the host name.
fn device_name(settings: &Settings, host: &RealHost) -> anyhow::Result<DeviceName> {
    if let Some(name) = &settings.device_name {
        return Ok(name.clone());
    }
    let name = host::name();
    let name = name.trim();
    // Docker gives a container the first digits of its ID as host name.
    if host.own_container().is_some_and(|id| id.starts_with(name)) {
        bail!(
            "set device.name, the name of this device on MQTT topics: the host name {name} is the \
             ID of this container, which changes with each update"
        );
    }
    name.parse().with_context(|| {
        format!("the host name {name} cannot be the name of this device on topics: set device.name")
    })
}

/// The connection of a fleet's operator to the broker.
pub struct OperatorConnection {
    pub broker: MqttBroker,
    pub task: BrokerTask,
    pub events: BrokerEvents,
}

/// The connection of an operator to the broker of the settings, not yet begun.
///
/// Its client ID is that of no device: two clients with one ID disconnect each other (MQTT 5,
/// 3.1.4). With mutual TLS the broker takes the name in the certificate in its place.
#[must_use]
pub fn operator(mqtt: &MqttSettings, filters: Vec<String>) -> OperatorConnection {
    let id = RealHost::default().random_id();
    let id: String =
        id.chars().filter(char::is_ascii_alphanumeric).take(CLIENT_ID_LENGTH).collect();
    // Without the flag as published, a message from before and one of this moment are told apart.
    let subscription = |filter| TopicSubscription { filter, shows_retain_flag: false };
    let settings = BrokerSettings {
        subscriptions: filters.into_iter().map(subscription).collect(),
        ..client_settings(mqtt, &id)
    };
    let (broker, task, events) = MqttBroker::new(settings);
    OperatorConnection { broker, task, events }
}

/// The name of this machine, for people.
#[must_use]
pub fn host_name() -> String {
    host::name().trim().to_owned()
}

fn client_settings(mqtt: &MqttSettings, client_id: &str) -> BrokerSettings {
    let login = mqtt.login.as_ref();
    BrokerSettings {
        ca_file: mqtt.ca_file.clone(),
        identity: mqtt.identity.clone(),
        login: login.map(|(username, password_file)| BrokerLogin {
            username: username.clone(),
            password_file: Some(password_file.clone()),
        }),
        keep_alive: mqtt.keep_alive,
        ..BrokerSettings::new(mqtt.address.clone(), client_id)
    }
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
    state: StateDirectory<RealDisk>,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Agent<RealPorts>> {
    let world = AllPorts {
        engine: engine(settings)?,
        registry: registry(settings, listeners.registries)?,
        state,
        host: RealHost::default(),
    };
    let agent_settings = agent_settings(settings, &world.host);
    let Listeners { snapshot, events, rounds, .. } = listeners;
    for note in world.state.notes() {
        let warning = Event::Warning { subject: None, detail: note.clone() };
        events.publish(world.host.now(), Trigger::Schedule, warning);
    }
    let mqtt = settings.mqtt.as_ref();
    let membership = mqtt.map(|mqtt| membership(settings, mqtt, &world.host)).transpose()?;
    let agent = Agent::new(Arc::new(world), agent_settings, events, rounds, snapshot, stop);
    Ok(match membership {
        Some(membership) => agent.with_fleet(membership)?,
        None => agent,
    })
}

fn agent_settings(settings: &Settings, host: &impl Host) -> AgentSettings {
    AgentSettings {
        defaults: settings.policy_defaults(),
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
