//! `device/ID/agent`, as an observer of the fleet reads it.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::core::fleet::message::{MessageError, decode, wire};

/// What a device says about its agent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentState {
    /// Why the last round could not run at all.
    #[serde(
        default,
        deserialize_with = "wire::optional_shortened::<_, {wire::SENTENCE_LENGTH_MAX}>"
    )]
    pub error: Option<String>,
    /// When the device checked last, by its own clock.
    #[serde(default)]
    pub last_check: Option<DateTime<Utc>>,
    /// How many containers and services the device watches.
    #[serde(default)]
    pub watched: u32,
}

impl AgentState {
    /// Reads the payload.
    ///
    /// # Errors
    /// Why the message is ignored.
    pub fn read(payload: &[u8]) -> Result<Self, MessageError> {
        decode(payload)
    }
}
