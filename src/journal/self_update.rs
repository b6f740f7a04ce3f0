//! The file of a self-update.

use super::{Disk, JournalError, StateDirectory, on, to_json};
use crate::core::update::self_update::SelfUpdate;

const FILE: &str = "handover.json";

impl<D: Disk> StateDirectory<D> {
    /// The self-update that was requested.
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

    /// Stores the self-update. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still valid.
    pub fn hand_over(&self, self_update: &SelfUpdate) -> Result<(), JournalError> {
        let path = self.path(FILE);
        let content = to_json(&path, self_update)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }

    /// Removes the request.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn end_self_update(&self) -> Result<(), JournalError> {
        let path = self.path(FILE);
        self.disk.remove(&path).map_err(on("remove", &path))
    }
}
