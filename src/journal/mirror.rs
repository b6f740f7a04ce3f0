//! What the mirror remembers of its rules.

use super::{Disk, JournalError, StateDirectory, on, to_json};
use crate::core::mirror::memory::MirrorMemory;

const FILE: &str = "mirror.json";

impl<D: Disk> StateDirectory<D> {
    /// What the mirror remembers of its rules.
    ///
    /// # Errors
    /// The file cannot be read. Without it the mirror still copies, but deletes nothing.
    pub fn mirror_memory(&self) -> Result<MirrorMemory, JournalError> {
        let path = self.path(FILE);
        let Some(content) = self.disk.read(&path).map_err(on("read", &path))? else {
            return Ok(MirrorMemory::default());
        };
        serde_json::from_slice(&content)
            .map_err(|error| JournalError::Damaged { path, detail: error.to_string() })
    }

    /// Replaces what the mirror remembers. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still there.
    pub fn remember_mirror(&self, memory: &MirrorMemory) -> Result<(), JournalError> {
        let path = self.path(FILE);
        let content = to_json(&path, memory)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }
}
