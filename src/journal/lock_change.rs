//! A note that this agent creates and removes the lock of its Engine.
//!
//! The Engine flushes the labels of a volume, but not its directory. So a power cut, or the end of
//! the Engine, can leave a lock that names no agent. The note says that it is this agent's own. It
//! is written once and stays, because a round without news must write nothing.

use super::{Disk, JournalError, StateDirectory, on};

const FILE: &str = "lock-change";

impl<D: Disk> StateDirectory<D> {
    /// Whether there is a note.
    #[must_use]
    pub fn has_lock_change(&self) -> bool {
        self.disk.read(&self.path(FILE)).is_ok_and(|content| content.is_some())
    }

    /// Writes the note. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn note_lock_change(&self) -> Result<(), JournalError> {
        if self.has_lock_change() {
            return Ok(());
        }
        let path = self.path(FILE);
        self.disk.create(&path, b"\n").map_err(on("write", &path))
    }
}
