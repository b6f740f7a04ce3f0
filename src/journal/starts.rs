//! How often the agent was started: other programs tell its starts apart by this number.

use super::{Disk, JournalError, StateDirectory, on};

const FILE: &str = "starts";

impl<D: Disk> StateDirectory<D> {
    /// Counts one more start, and returns the number. A damaged file counts from 1 again.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn count_start(&self) -> Result<u64, JournalError> {
        let path = self.path(FILE);
        let content = self.disk.read(&path).map_err(on("read", &path))?.unwrap_or_default();
        let starts: u64 = String::from_utf8_lossy(&content).trim().parse().unwrap_or_default();
        let starts = starts.saturating_add(1);
        self.disk.replace(&path, format!("{starts}\n").as_bytes()).map_err(on("write", &path))?;
        Ok(starts)
    }
}
