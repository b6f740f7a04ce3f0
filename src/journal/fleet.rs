//! What the device remembers of its fleet: the stop, how far rollouts are, its own verdicts.

use super::{Disk, JournalError, StateDirectory};
use crate::core::fleet::memory::FleetMemory;

const FILE: &str = "fleet.json";

impl<D: Disk> StateDirectory<D> {
    /// What the device remembers of its fleet.
    ///
    /// # Errors
    /// The file cannot be read. There is no default: a forgotten stop would start updates that an
    /// operator has stopped.
    pub fn fleet_memory(&self) -> Result<FleetMemory, JournalError> {
        self.read_json(FILE)
    }

    /// Replaces what the device remembers of its fleet. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still there.
    pub fn remember_fleet(&self, memory: &FleetMemory) -> Result<(), JournalError> {
        self.replace_json(FILE, memory)
    }
}
