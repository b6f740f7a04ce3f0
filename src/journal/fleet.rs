//! What the device remembers of its fleet: the stop, how far rollouts are, its own verdicts.

use super::{Disk, JournalError, StateDirectory, on, to_json};
use crate::core::fleet::memory::FleetMemory;

const FILE: &str = "fleet.json";

impl<D: Disk> StateDirectory<D> {
    /// What the device remembers of its fleet.
    ///
    /// # Errors
    /// The file cannot be read. There is no default: a forgotten stop would start updates that an
    /// operator has stopped.
    pub fn fleet_memory(&self) -> Result<FleetMemory, JournalError> {
        let path = self.path(FILE);
        let Some(content) = self.disk.read(&path).map_err(on("read", &path))? else {
            return Ok(FleetMemory::default());
        };
        serde_json::from_slice(&content)
            .map_err(|error| JournalError::Damaged { path, detail: error.to_string() })
    }

    /// Replaces what the device remembers of its fleet. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still there.
    pub fn remember_fleet(&self, memory: &FleetMemory) -> Result<(), JournalError> {
        let path = self.path(FILE);
        let content = to_json(&path, memory)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }
}
