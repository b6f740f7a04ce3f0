//! What goes wrong, or is done by others.

use std::time::Duration;

use pilotfish::core::decide::reason::Reason;

/// What a power cut leaves of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Everything: the system happened to have written it all.
    All,
    /// Nothing.
    Nothing,
    /// The Engine's acts up to one of them, in their order, as a journalling file system keeps
    /// them; of each file of the state directory any part, in any order. The number is a seed.
    Some(u64),
}

/// How the state directory's disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskTrouble {
    /// ENOSPC; a part of what was to be appended may stand there.
    Full,
    /// EIO; nothing is written, nothing can be removed.
    Broken,
}

/// Something that happens at a point, or at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of the agent.
    Kill,
    /// SIGTERM to the agent.
    Terminate,
    /// The power goes, and comes back.
    Cut(Keeps),
    /// The Engine is away for so long; it ended in good order, or by SIGKILL.
    RestartEngine { killed: bool, down: Duration },
    /// The Engine answers this call with 500 and does nothing.
    Refuse,
    /// The Engine answers this call with 409 and does nothing: somebody else is at it.
    Conflict,
    /// The Engine does what it was asked, but its answer is lost.
    LoseTheAnswer,
    /// From now on the state directory's disk fails; after so many writes it works again.
    Disk(DiskTrouble, usize),
    /// It works again.
    MendDisk,
    /// The state directory is lost.
    LoseState,
    /// The clock is set, by so many milliseconds.
    SetClock(i64),
    /// `docker system prune -f`.
    Prune,
    /// Another agent holds the Engine; it lives, is gone, or cannot be seen from here.
    OtherAgent(Option<bool>),
    /// It lets go, or `docker volume prune` takes the lock.
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
    /// `docker run --name NAME` on the image that its tag stands for here.
    Run(String),
    /// A person's own container of that name, on this image, which was never started.
    Stranger(String, String),
    /// `docker create --name NAME`, likewise.
    Create(String),
    /// `docker pull` of a tag.
    Pull(String),
    /// The tag stands for this image in the registry from now on.
    Push(String, String),
    /// The registry answers like this, or well again.
    Registry(Option<Reason>),
    /// The judge looks whether the service runs; where it does not, because it is just being
    /// switched or stopped, a moment later once more.
    Look { again: bool },
}
