//! The topics of a fleet, below `pilotfish/1/FLEET/`.

use std::fmt;
use std::str::FromStr;

use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::names::{BuildName, DeviceName, FleetName, NameError, SubjectName};
use crate::core::subject::{Subject, SubjectKind};

/// The beginning of every topic. The number is the version of the topics.
pub const ROOT: &str = "pilotfish/1";

/// Hexadecimal digits of a [`ReferenceKey`]: 64 bits, so that two of a fleet's references do not
/// meet by chance.
const KEY_DIGITS: usize = 16;

/// A reference as one level of a topic: the first 16 hexadecimal digits of the SHA-256 digest of
/// `registry/repository:tag`.
///
/// The text is the whole name with all defaults, `docker.io/library/nginx:latest` for `nginx`, so
/// that all ways to write a reference have one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferenceKey(String);

impl ReferenceKey {
    /// The key of a reference; `None` without a tag, because then there is nothing to follow.
    #[must_use]
    pub fn of(reference: &Reference) -> Option<Self> {
        let text = whole_name(reference)?;
        Some(Self(Digest::of(text.as_bytes()).hex().chars().take(KEY_DIGITS).collect()))
    }

    /// The 16 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == KEY_DIGITS && is_hex).then(|| Self(text.to_owned()))
    }
}

/// A reference in messages: `docker.io/library/nginx:latest`. `None` without a tag.
#[must_use]
pub fn whole_name(reference: &Reference) -> Option<String> {
    let tag = reference.tag.as_ref()?;
    Some(format!("{}:{tag}", reference.full_name()))
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandKind {
    Check,
    Update,
    Rollback,
    Allow,
}

impl CommandKind {
    /// All commands.
    pub const ALL: [Self; 4] = [Self::Check, Self::Update, Self::Rollback, Self::Allow];

    /// The last level of the command's topic.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Update => "update",
            Self::Rollback => "rollback",
            Self::Allow => "allow",
        }
    }
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Whether the device is connected; also its last will. Retained.
    Online(DeviceName),
    /// The state of the device's agent. Retained.
    Agent(DeviceName),
    /// The row of one container. Retained; empty after the container is gone.
    Container(DeviceName, SubjectName),
    /// The row of one service. Retained; empty after the service is gone.
    Service(DeviceName, SubjectName),
    /// One event of an update.
    Event(DeviceName),
    /// The answer to a command.
    Reply(DeviceName),
    /// How the update of a reference ended on a device. Retained.
    Verdict(ReferenceKey, DeviceName),
    /// A command to a device. Never retained.
    Command(DeviceName, CommandKind),
    /// A tag may have moved. Retained.
    Announce(ReferenceKey),
    /// The last result of a build. Retained.
    Build(BuildName),
    /// The stop for the whole fleet. Retained.
    Stop,
}

impl Topic {
    /// The topic of a container or a service.
    ///
    /// # Errors
    /// The name cannot be one level of a topic.
    pub fn of_subject(device: DeviceName, subject: &Subject) -> Result<Self, NameError> {
        let name = subject.name.parse()?;
        Ok(match subject.kind {
            SubjectKind::Container => Self::Container(device, name),
            SubjectKind::Service => Self::Service(device, name),
            SubjectKind::Group => return Err(NameError::Group),
        })
    }

    /// The container or service whose row this is.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Container(_, name) => Some(Subject::container(name.as_str())),
            Self::Service(_, name) => Some(Subject::service(name.as_str())),
            _ => None,
        }
    }

    /// Whether the broker keeps the last message for later subscribers.
    #[must_use]
    pub const fn is_retained(&self) -> bool {
        !matches!(self, Self::Event(_) | Self::Reply(_) | Self::Command(..))
    }
}

/// The part after the fleet's name.
impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Online(device) => write!(formatter, "device/{device}/online"),
            Self::Agent(device) => write!(formatter, "device/{device}/agent"),
            Self::Container(device, name) => write!(formatter, "device/{device}/container/{name}"),
            Self::Service(device, name) => write!(formatter, "device/{device}/service/{name}"),
            Self::Event(device) => write!(formatter, "device/{device}/event"),
            Self::Reply(device) => write!(formatter, "device/{device}/reply"),
            Self::Verdict(key, device) => write!(formatter, "verdict/{}/{device}", key.0),
            Self::Command(device, kind) => write!(formatter, "command/{device}/{}", kind.word()),
            Self::Announce(key) => write!(formatter, "announce/{}", key.0),
            Self::Build(name) => write!(formatter, "build/{name}"),
            Self::Stop => formatter.write_str("stop"),
        }
    }
}

/// The topics of one fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `pilotfish/1/FLEET/`.
    prefix: String,
}

impl Topics {
    /// The topics of the fleet with this name.
    #[must_use]
    pub fn new(fleet: &FleetName) -> Self {
        Self { prefix: format!("{ROOT}/{fleet}/") }
    }

    /// The whole name of a topic.
    #[must_use]
    pub fn name(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// Reads the name of a topic. `None` for a topic of another fleet, an unknown one, and one with
    /// a name that no device, build or container has.
    #[must_use]
    pub fn parse(&self, name: &str) -> Option<Topic> {
        let levels: Vec<&str> = name.strip_prefix(&self.prefix)?.split('/').take(5).collect();
        Some(match *levels.as_slice() {
            ["device", device, "online"] => Topic::Online(read(device)?),
            ["device", device, "agent"] => Topic::Agent(read(device)?),
            ["device", device, "event"] => Topic::Event(read(device)?),
            ["device", device, "reply"] => Topic::Reply(read(device)?),
            ["device", device, "container", name] => Topic::Container(read(device)?, read(name)?),
            ["device", device, "service", name] => Topic::Service(read(device)?, read(name)?),
            ["verdict", key, device] => Topic::Verdict(ReferenceKey::parse(key)?, read(device)?),
            ["command", device, word] => {
                let kind = CommandKind::ALL.into_iter().find(|kind| kind.word() == word)?;
                Topic::Command(read(device)?, kind)
            }
            ["announce", key] => Topic::Announce(ReferenceKey::parse(key)?),
            ["build", name] => Topic::Build(read(name)?),
            ["stop"] => Topic::Stop,
            _ => return None,
        })
    }

    /// The filter for the commands to a device.
    #[must_use]
    pub fn command_filter(&self, device: &DeviceName) -> String {
        format!("{}command/{device}/+", self.prefix)
    }

    /// The filter for all announcements.
    #[must_use]
    pub fn announce_filter(&self) -> String {
        format!("{}announce/+", self.prefix)
    }

    /// The filters for everything else that a device hears: announcements, the stop, its own rows,
    /// so that it can clear those of containers that are gone, and the verdicts of all devices if
    /// the rollout is staged.
    #[must_use]
    pub fn device_filters(&self, device: &DeviceName, is_staged: bool) -> Vec<String> {
        let own = ["container", "service"].map(|kind| format!("device/{device}/{kind}/+"));
        let verdicts = is_staged.then(|| "verdict/+/+".to_owned());
        let filters = ["announce/+".to_owned(), "stop".to_owned()].into_iter();
        let filters = filters.chain(own).chain(verdicts);
        filters.map(|filter| format!("{}{filter}", self.prefix)).collect()
    }
}

/// What an observer of the whole fleet hears, below the fleet's name. A broker may drop retained
/// messages if there are very many, so the rows, which are the most, come last.
const OBSERVED: [&str; 6] = [
    "stop",
    "device/+/online",
    "device/+/agent",
    "verdict/+/+",
    "device/+/container/+",
    "device/+/service/+",
];

impl Topics {
    /// The filters of an observer of the whole fleet.
    #[must_use]
    pub fn observer_filters(&self) -> Vec<String> {
        OBSERVED.iter().map(|filter| format!("{}{filter}", self.prefix)).collect()
    }
}

fn read<T: FromStr>(level: &str) -> Option<T> {
    level.parse().ok()
}

#[cfg(test)]
#[path = "topic_tests.rs"]
mod tests;
