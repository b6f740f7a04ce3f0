//! Whose turn it is while a helper updates the agent's own container.

use super::{Disk, JournalError, StateDirectory, on, to_json};
use crate::core::update::self_update::SelfUpdate;

const FILE: &str = "handover.json";

impl<D: Disk> StateDirectory<D> {
    /// What was asked of a helper, if anything was.
    ///
    /// # Errors
    /// The file cannot be read, or is from a newer version.
    pub fn self_update(&self) -> Result<Option<SelfUpdate>, JournalError> {
        let path = self.path(FILE);
        let Some(content) = self.disk.read(&path).map_err(on("read", &path))? else {
            return Ok(None);
        };
        let damaged = |detail: String| JournalError::Damaged { path: path.clone(), detail };
        let self_update: SelfUpdate =
            serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        if self_update.version > SelfUpdate::VERSION {
            return Err(damaged(format!("it has format {}", self_update.version)));
        }
        Ok(Some(self_update))
    }

    /// Says whose turn it is. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then what stood there before still holds.
    pub fn hand_over(&self, self_update: &SelfUpdate) -> Result<(), JournalError> {
        let path = self.path(FILE);
        let content = to_json(&path, self_update)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }

    /// Nobody is asked for anything any more.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn end_self_update(&self) -> Result<(), JournalError> {
        let path = self.path(FILE);
        self.disk.remove(&path).map_err(on("remove", &path))
    }
}
