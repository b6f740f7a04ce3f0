//! What goes wrong, and where.

use std::fmt;
use std::time::Duration;

/// Something that goes wrong at one call of the Engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the agent.
    Kill,
    /// The connection ends without an answer. Struck after the call, it was done.
    DropReply,
    /// The answer takes two seconds longer.
    Delay,
    /// The answer never comes. Struck after the call, it was done.
    Hang,
    /// Another answer, with this status. Struck after the call, it was done all the same.
    Answer(u16),
    /// The Engine is asked to end, and starts again.
    RestartEngine,
    /// The Engine is killed, and starts again.
    KillEngine,
    /// The power goes: the disk, the Engine, the containers and the agent at once.
    Cut,
    /// SIGTERM to the agent.
    Terminate,
    /// The registry goes away, until the agent has ended.
    RegistryGone,
    /// The disk under the agent's state fails, until the agent has ended.
    State(Failure),
    /// The one disk of the machine, under the Engine and the agent, is full until the agent has
    /// ended.
    DiskFull,
    /// No container can be started from then on, until the agent has ended, and another one has
    /// tried in vain.
    StartsFail,
    /// Somebody else does something to the Engine.
    Person(UserAction),
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// ENOSPC.
    Full,
    /// EROFS, as ext4 does it to itself after an error on an SD card.
    ReadOnly,
    /// EIO.
    Broken,
}

/// What people do while an update is under way.
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
    /// Another agent, with a state directory of its own, has its round.
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

impl UserAction {
    /// Whether the service is somebody else's afterwards: gone, made by them, under another name,
    /// or updated by another agent.
    pub const fn takes_the_service(self) -> bool {
        !matches!(self, Self::Restart | Self::Prune)
    }

    /// Whether there may be no service afterwards.
    pub const fn may_take_it_away(self) -> bool {
        matches!(self, Self::Remove | Self::ComposeDown)
    }

    /// Whether the service must have come from a compose file.
    pub const fn is_compose(self) -> bool {
        matches!(
            self,
            Self::ComposeUp | Self::ComposeRecreate | Self::ComposePull | Self::ComposeDown
        )
    }
}

/// Whether it happens before the Engine hears of the call, or when it has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}

impl When {
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];
}

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the call of this number, from 1.
    Call(usize, When),
    /// So long after the agent was started.
    After(Duration),
}

/// A fault with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    pub fault: Fault,
    pub place: Place,
}

impl Aim {
    /// When it strikes at the call of this number, if it does.
    pub fn at_call(&self, number: usize) -> Option<When> {
        match self.place {
            Place::Call(call, when) if call == number => Some(when),
            Place::Call(..) | Place::After(_) => None,
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

impl fmt::Display for Aim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Call(call, When::Before) => {
                write!(formatter, "{} before call {call}", self.fault)
            }
            Place::Call(call, When::After) => write!(formatter, "{} after call {call}", self.fault),
            Place::After(time) => write!(formatter, "{} after {time:?}", self.fault),
        }
    }
}
