//! The faults, and where they are injected.

use std::fmt;
use std::time::Duration;

use crate::steer::StepPair;

/// A fault at one call of the Engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the agent.
    Kill,
    /// The connection ends without an answer. If injected after the call, the call was done.
    DropReply,
    /// The answer is two seconds late.
    Delay,
    /// The answer never comes. If injected after the call, the call was done.
    Hang,
    /// Another answer, with this status. If injected after the call, the call was done all the
    /// same.
    Answer(u16),
    /// The Engine is stopped, and started again.
    RestartEngine,
    /// The Engine is killed, and started again.
    KillEngine,
    /// The power is cut: the disk, the Engine, the containers and the agent at once.
    Cut,
    /// SIGTERM to the agent.
    Terminate,
    /// The registry is down until the agent has ended.
    RegistryGone,
    /// The disk of the agent's state fails until the agent has ended.
    State(Failure),
    /// The only disk of the machine, for the Engine and the agent, is full until the agent has
    /// ended.
    DiskFull,
    /// From now on no container can be started, until the agent has ended and another agent has
    /// tried and failed.
    StartsFail,
    /// An action of a person or another program on the Engine.
    Person(UserAction),
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// ENOSPC.
    Full,
    /// EROFS: ext4 becomes read-only after an error on an SD card.
    ReadOnly,
    /// EIO.
    Broken,
}

/// Actions of people during an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserAction {
    /// `docker rm -f till`.
    Remove,
    /// `docker restart till`.
    Restart,
    /// `docker rename till mine`.
    Rename,
    /// `docker system prune -f`.
    Prune,
    /// Another agent, with its own state directory, runs a round.
    AnotherAgent,
    /// `docker-compose up -d`.
    ComposeUp,
    /// `docker-compose up -d --force-recreate`.
    ComposeRecreate,
    /// `docker-compose pull && docker-compose up -d`.
    ComposePull,
    /// `docker-compose down`.
    ComposeDown,
}

impl Fault {
    /// Whether the agent ends with it at once.
    pub const fn ends_agent(self) -> bool {
        matches!(self, Self::Kill | Self::Cut)
    }
}

impl UserAction {
    /// Whether the service belongs to somebody else afterwards: it was removed, recreated, renamed,
    /// or updated by another agent.
    pub const fn changes_ownership(self) -> bool {
        !matches!(self, Self::Restart | Self::Prune)
    }

    /// Whether the service may be gone afterwards.
    pub const fn may_remove_service(self) -> bool {
        matches!(self, Self::Remove | Self::ComposeDown)
    }

    /// Whether the service must come from a compose file.
    pub const fn is_compose(self) -> bool {
        matches!(
            self,
            Self::ComposeUp | Self::ComposeRecreate | Self::ComposePull | Self::ComposeDown
        )
    }
}

/// Whether the fault happens before the call reaches the Engine, or after the Engine has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

impl When {
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];
}

/// Where a fault is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the call with this number, from 1.
    Call(usize, When),
    /// This long after the start of the agent.
    After(Duration),
    /// While the Engine loads an image, so long after it has so many bytes of the archive, or all.
    InLoad(u64, Duration),
    /// At the first call for which two updates in flight are at these steps.
    Steps(StepPair),
}

/// All bytes of an archive.
pub const WHOLE: u64 = u64::MAX;

/// A fault and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    pub fault: Fault,
    pub place: Place,
}

impl PlannedFault {
    /// Returns whether the fault happens before or after the call with this number, or `None`.
    pub fn at_call(&self, number: usize) -> Option<When> {
        match self.place {
            Place::Call(call, when) if call == number => Some(when),
            Place::Call(..) | Place::After(_) | Place::InLoad(..) | Place::Steps(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => formatter.write_str("kill"),
            Self::DropReply => formatter.write_str("lost reply"),
            Self::Delay => formatter.write_str("delay"),
            Self::Hang => formatter.write_str("no answer"),
            Self::Answer(status) => write!(formatter, "answer {status}"),
            Self::RestartEngine => formatter.write_str("engine restart"),
            Self::KillEngine => formatter.write_str("engine kill"),
            Self::Cut => formatter.write_str("power cut"),
            Self::Terminate => formatter.write_str("SIGTERM"),
            Self::RegistryGone => formatter.write_str("registry gone"),
            Self::DiskFull => formatter.write_str("disk full"),
            Self::StartsFail => formatter.write_str("starts fail"),
            Self::State(failure) => write!(formatter, "state disk: {failure:?}"),
            Self::Person(user_action) => write!(formatter, "person: {user_action:?}"),
        }
    }
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Call(call, When::Before) => {
                write!(formatter, "{} before call {call}", self.fault)
            }
            Place::Call(call, When::After) => write!(formatter, "{} after call {call}", self.fault),
            Place::After(time) => write!(formatter, "{} after {time:?}", self.fault),
            Place::InLoad(WHOLE, time) => {
                write!(formatter, "{} in the load, {time:?} after the archive", self.fault)
            }
            Place::InLoad(bytes, time) => {
                write!(formatter, "{} in the load, {time:?} after {bytes} bytes", self.fault)
            }
            Place::Steps(pair) => write!(formatter, "{} {pair}", self.fault),
        }
    }
}
