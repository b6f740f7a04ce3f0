//! Faults, and actions of other people and programs.

use std::time::Duration;

use pilotfish::core::decide::reason::Reason;

/// How much unflushed data a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// Everything: the system happened to have written it all.
    All,
    /// Nothing.
    Nothing,
    /// The Engine's writes up to some point, in order, as a journalling file system keeps them; any
    /// part of each file of the state directory, in any order. The number is a seed.
    Some(u64),
}

/// How the state directory's disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskTrouble {
    /// ENOSPC; a part of an append may stay in the file.
    Full,
    /// EIO; nothing is written, and nothing can be removed.
    Broken,
}

/// An action that happens at a point or at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the agent.
    Kill,
    /// SIGTERM to the agent.
    Terminate,
    /// The power is cut, and comes back.
    Cut(Survives),
    /// The Engine is down for this time. It ended normally or by SIGKILL.
    RestartEngine { killed: bool, down: Duration },
    /// The Engine answers this call with 500 and does nothing.
    Refuse,
    /// The Engine answers this call with 409 and does nothing: another client works on the
    /// container.
    Conflict,
    /// The Engine does the action, but its answer is lost.
    LoseTheAnswer,
    /// The disk of the state directory fails from now on, for so many writes.
    Disk(DiskTrouble, usize),
    /// The disk works again.
    MendDisk,
    /// The state directory is lost.
    LoseState,
    /// The clock is set ahead by so many milliseconds.
    SetClock(i64),
    /// `docker system prune -f`.
    Prune,
    /// Another agent holds the Engine lock. It is alive, dead, or not visible from here.
    OtherAgent(Option<bool>),
    /// The other agent releases the lock, or `docker volume prune` removes it.
    Unlock,
    /// `docker rm -f NAME`.
    Remove(String),
    /// `docker stop NAME`.
    Stop(String),
    /// `docker start NAME`.
    Start(String),
    /// `docker restart NAME`.
    Restart(String),
    /// `docker rename FROM TO`.
    Rename(String, String),
    /// `docker run --name NAME` on the local image of its tag.
    Run(String),
    /// `docker create --name NAME IMAGE` by a person, for a container of no service.
    CreateForeign(String, String),
    /// `docker create --name NAME` on the local image of its tag.
    Create(String),
    /// `docker pull` of a tag.
    Pull(String),
    /// The registry's tag points to this image from now on.
    Push(String, String),
    /// The registry fails with this reason, or works again.
    Registry(Option<Reason>),
    /// Checks that the service runs. If it does not, because a switch or a stop is in progress,
    /// checks once more a moment later.
    CheckService { again: bool },
}
