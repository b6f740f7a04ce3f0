//! The device, as its fleet knows it.

use std::time::Duration;

use crate::broker::{LastWill, TopicSubscription};
use crate::core::fleet::message::presence::{DevicePresence, PresenceState};
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::topic::{Topic, Topics};

/// How long the broker waits before it says that a device is gone: an agent that restarts is back
/// by then, and nobody hears of it.
const LAST_WILL_DELAY: Duration = Duration::from_secs(20);

/// The device, as its fleet knows it.
#[derive(Debug, Clone)]
pub struct FleetDevice {
    pub topics: Topics,
    pub name: DeviceName,
    /// The agent's version.
    pub version: String,
    /// Counts the starts of the agent.
    pub boot: u64,
    /// Whether commands are carried out.
    pub takes_commands: bool,
    /// Whether rollouts are staged, so that the verdicts of other devices matter.
    pub is_staged: bool,
    /// The discovery prefix of Home Assistant; absent without it.
    pub discovery_prefix: Option<String>,
    /// How many devices may come back to the broker at the same time.
    pub fleet_size: u32,
}

impl FleetDevice {
    /// The message that the broker retains in this device's name when it has disappeared.
    #[must_use]
    pub fn last_will(&self) -> LastWill {
        LastWill {
            topic: self.topics.name(&Topic::Online(self.name.clone())),
            payload: self.presence(PresenceState::Offline),
            is_retained: true,
            delay: LAST_WILL_DELAY,
        }
    }

    /// The payload that says whether the device is connected.
    #[must_use]
    pub(super) fn presence(&self, state: PresenceState) -> Vec<u8> {
        DevicePresence { state, boot: self.boot, version: Some(self.version.clone()) }.encode()
    }

    /// What the device receives.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<TopicSubscription> {
        let filters = self.topics.device_filters(&self.name, self.is_staged).into_iter();
        // With the flag as published, a command that a person retains is known at once.
        let commands = self.takes_commands.then(|| self.topics.command_filter(&self.name));
        let always = filters.map(|filter| TopicSubscription { filter, shows_retain_flag: false });
        let commands = commands.map(|filter| TopicSubscription { filter, shows_retain_flag: true });
        always.chain(commands).collect()
    }
}
