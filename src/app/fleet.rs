//! Connections to the broker of the settings: of a device, a bridge, a mirror and an operator.

use anyhow::{Context, bail};

use crate::broker::{
    BrokerEvents, BrokerLogin, BrokerSettings, BrokerTask, MqttBroker, TopicSubscription,
};
use crate::config::{MqttSettings, Settings};
use crate::core::fleet::home_assistant;
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::Roster;
use crate::core::fleet::state::FleetMembership;
use crate::core::fleet::topic::Topics;
use crate::fleet::{BrokerSink, FleetDevice};
use crate::host::{self, Host, RealHost};

/// Characters of a client ID that every broker accepts (MQTT 5, 3.1.3.1).
const CLIENT_ID_LENGTH: usize = 23;

/// What publishes announcements.
pub type RealSink = BrokerSink<MqttBroker>;

/// The connection to the broker, and this device in its fleet.
pub struct FleetConnection {
    pub broker: MqttBroker,
    pub task: BrokerTask,
    pub events: BrokerEvents,
    pub device: FleetDevice,
}

impl FleetConnection {
    /// What publishes announcements on this connection.
    #[must_use]
    pub fn sink(&self) -> RealSink {
        let (broker, topics) = (self.broker.clone(), self.device.topics.clone());
        BrokerSink { broker, topics, name: self.device.name.to_string() }
    }
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

/// The connection of a bridge or a mirror to the broker.
pub struct BridgeConnection {
    pub broker: MqttBroker,
    pub task: BrokerTask,
    pub events: BrokerEvents,
    pub topics: Topics,
    /// Its name in announcements.
    pub name: String,
}

impl BridgeConnection {
    /// What publishes announcements on this connection.
    #[must_use]
    pub fn sink(&self) -> RealSink {
        let (broker, topics, name) = (self.broker.clone(), self.topics.clone(), self.name.clone());
        BrokerSink { broker, topics, name }
    }
}

/// The client ID of a bridge without `device.name`. With mutual TLS the broker uses the name in the
/// certificate.
const BRIDGE_NAME: &str = "bridge";

/// The same of a mirror.
const MIRROR_NAME: &str = "mirror";

/// The connection of a bridge to the broker of the settings, not yet begun.
#[must_use]
pub fn bridge(settings: &Settings, mqtt: &MqttSettings) -> BridgeConnection {
    let name = settings.device_name.as_ref().map_or(BRIDGE_NAME, DeviceName::as_str).to_owned();
    let (broker, task, events) = MqttBroker::new(client_settings(mqtt, &name));
    BridgeConnection { broker, task, events, topics: Topics::new(&mqtt.fleet), name }
}

/// The device as a member of its fleet.
pub(super) fn membership(
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

/// The connection of a mirror to the broker of the settings, not yet begun.
#[must_use]
pub fn mirror_broker(settings: &Settings, mqtt: &MqttSettings) -> BridgeConnection {
    let name = settings.device_name.as_ref().map_or(MIRROR_NAME, DeviceName::as_str).to_owned();
    let topics = Topics::new(&mqtt.fleet);
    let subscription =
        TopicSubscription { filter: topics.announce_filter(), shows_retain_flag: false };
    let client =
        BrokerSettings { subscriptions: vec![subscription], ..client_settings(mqtt, &name) };
    let (broker, task, events) = MqttBroker::new(client);
    BridgeConnection { broker, task, events, topics, name }
}
