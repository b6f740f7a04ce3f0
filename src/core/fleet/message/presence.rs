//! `device/ID/online`: whether a device is connected.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::core::fleet::message::{VERSION, wire};

/// Longest version of a program in characters.
const VERSION_LENGTH_MAX: usize = 64;

/// Whether a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    Online,
    Offline,
}

/// Whether a device is connected. `offline` is also the device's last will.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DevicePresence {
    pub state: PresenceState,
    /// Counts the starts of the agent, so that a late last will of an earlier one is recognized.
    pub boot: u64,
    /// The agent's version, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, VERSION_LENGTH_MAX>")]
    pub version: Option<String>,
}

impl DevicePresence {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut document = json!({"v": VERSION, "state": self.state, "boot": self.boot});
        if let Some(version) = &self.version {
            document["version"] = json!(wire::cut(version, VERSION_LENGTH_MAX));
        }
        document.to_string().into_bytes()
    }
}
