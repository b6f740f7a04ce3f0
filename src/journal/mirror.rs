//! What the mirror remembers of its rules.

use super::{Disk, JournalError, StateDirectory};
use crate::core::mirror::memory::MirrorMemory;

const FILE: &str = "mirror.json";

impl<D: Disk> StateDirectory<D> {
    /// What the mirror remembers of its rules.
    ///
    /// # Errors
    /// The file cannot be read. Without it the mirror still copies, but deletes nothing.
    pub fn mirror_memory(&self) -> Result<MirrorMemory, JournalError> {
        self.read_json(FILE)
    }

    /// Replaces what the mirror remembers. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still there.
    pub fn remember_mirror(&self, memory: &MirrorMemory) -> Result<(), JournalError> {
        self.replace_json(FILE, memory)
    }
}
