//! The random ID that identifies a state directory.

use super::{Disk, JournalError, StateDirectory, on};

const FILE: &str = "agent-id";

impl<D: Disk> StateDirectory<D> {
    /// The ID, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn agent_id(&self) -> Result<Option<String>, JournalError> {
        let path = self.path(FILE);
        let content = self.disk.read(&path).map_err(on("read", &path))?;
        let text = content.map(|content| String::from_utf8_lossy(&content).trim().to_owned());
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Stores the ID. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_agent_id(&self, id: &str) -> Result<(), JournalError> {
        let path = self.path(FILE);
        self.disk.replace(&path, format!("{id}\n").as_bytes()).map_err(on("write", &path))
    }
}
