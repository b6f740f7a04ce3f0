//! The messages of a fleet: JSON with `"v":1`, one file for each kind.
//!
//! What comes in was written by another program, or by an attacker with the certificate of a
//! device. So a payload is read as a whole or not at all, and everything in it has a limit. Unknown
//! keys are ignored, so that a later version can add some.

mod wire;

pub mod agent;
pub mod announcement;
pub mod build;
pub mod command;
pub mod presence;
pub mod reply;
pub mod row;
pub mod stop;
pub mod verdict;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::core::docker::reference::Reference;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::message::build::BuildResult;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::presence::DevicePresence;
use crate::core::fleet::message::reply::CommandReply;
use crate::core::fleet::message::stop::FleetStop;
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::names::{BuildName, DeviceName};
use crate::core::fleet::topic::{ReferenceKey, Topic};

/// The version of all payloads.
pub const VERSION: u64 = 1;

/// Largest payload in bytes. The largest message of a fleet is a stop with a hundred references,
/// and brokers are set up with the same limit.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// Why a message is ignored. The word of each is the reason in the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MessageError {
    #[error("the topic is none that this device reads")]
    UnknownTopic,
    #[error("the payload has more than 65536 bytes")]
    TooLarge,
    #[error("the payload is not UTF-8")]
    NotUtf8,
    #[error("the payload is not JSON")]
    NotJson,
    #[error("the payload does not have `\"v\":1`: its sender speaks another version")]
    UnknownVersion,
    #[error("a key is missing, has the wrong type, or has a value that is not allowed")]
    WrongShape,
    #[error("the payload names another reference or build than its topic")]
    WrongTopic,
}

impl MessageError {
    /// All reasons, for the metric.
    pub const ALL: [Self; 7] = [
        Self::UnknownTopic,
        Self::TooLarge,
        Self::NotUtf8,
        Self::NotJson,
        Self::UnknownVersion,
        Self::WrongShape,
        Self::WrongTopic,
    ];

    /// The word used in the log and the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownTopic => "unknown_topic",
            Self::TooLarge => "too_large",
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::UnknownVersion => "unknown_version",
            Self::WrongShape => "wrong_shape",
            Self::WrongTopic => "wrong_topic",
        }
    }
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Announcement(Announcement),
    Build(BuildResult),
    Command(DeviceName, FleetCommand),
    Stop(FleetStop),
    Verdict(DeviceName, FleetVerdict),
    /// The retained verdict of a device was removed.
    VerdictCleared(ReferenceKey, DeviceName),
    /// A retained announcement or build was removed, which means nothing.
    Cleared,
    Presence(DeviceName, DevicePresence),
    Reply(DeviceName, CommandReply),
}

impl Incoming {
    /// Reads the payload of a topic.
    ///
    /// An empty payload removes what is retained. It never lifts a stop: only `"refs":[]` does, so
    /// that a broker that loses its memory does not start a stopped fleet.
    ///
    /// # Errors
    /// Why the message is ignored.
    pub fn read(topic: &Topic, payload: &[u8]) -> Result<Self, MessageError> {
        if payload.is_empty() {
            match topic {
                Topic::Verdict(key, device) => {
                    return Ok(Self::VerdictCleared(key.clone(), device.clone()));
                }
                Topic::Announce(_) | Topic::Build(_) => return Ok(Self::Cleared),
                _ => {}
            }
        }
        Ok(match topic {
            Topic::Announce(key) => {
                let announcement: Announcement = decode(payload)?;
                check_reference(&announcement.reference, key)?;
                Self::Announcement(announcement)
            }
            Topic::Verdict(key, device) => {
                let verdict: FleetVerdict = decode(payload)?;
                check_reference(&verdict.reference, key)?;
                Self::Verdict(device.clone(), verdict)
            }
            Topic::Build(name) => Self::Build(build_of(name, decode(payload)?)?),
            Topic::Command(device, kind) => {
                Self::Command(device.clone(), FleetCommand::read(*kind, payload)?)
            }
            Topic::Stop => Self::Stop(decode(payload)?),
            Topic::Online(device) => Self::Presence(device.clone(), decode(payload)?),
            Topic::Reply(device) => Self::Reply(device.clone(), decode(payload)?),
            Topic::Agent(_) | Topic::Container(..) | Topic::Service(..) | Topic::Event(_) => {
                return Err(MessageError::UnknownTopic);
            }
        })
    }
}

/// The reference in the text must be the one of the topic, because the broker checks the right to
/// write the topic and not the text.
fn check_reference(reference: &Reference, key: &ReferenceKey) -> Result<(), MessageError> {
    let is_same = ReferenceKey::of(reference).as_ref() == Some(key);
    if is_same { Ok(()) } else { Err(MessageError::WrongTopic) }
}

fn build_of(name: &BuildName, build: BuildResult) -> Result<BuildResult, MessageError> {
    if build.name == *name { Ok(build) } else { Err(MessageError::WrongTopic) }
}

/// What is read first, because the rest of another version may have any shape.
#[derive(Deserialize)]
struct MessageVersion {
    v: u64,
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, MessageError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(MessageError::TooLarge);
    }
    let text = std::str::from_utf8(payload).map_err(|_| MessageError::NotUtf8)?;
    let version: MessageVersion = serde_json::from_str(text).map_err(|error| {
        if error.is_data() { MessageError::UnknownVersion } else { MessageError::NotJson }
    })?;
    if version.v != VERSION {
        return Err(MessageError::UnknownVersion);
    }
    serde_json::from_str(text).map_err(|_| MessageError::WrongShape)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
