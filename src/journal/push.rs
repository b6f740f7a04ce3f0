//! The loads and first containers of deployments that are in progress.

use super::{Disk, JournalError, StateDirectory};
use crate::core::deployment::push_journal::PushJournal;

const FILE: &str = "push.json";

impl<D: Disk> StateDirectory<D> {
    /// What is open.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn push_journal(&self) -> Result<PushJournal, JournalError> {
        self.read_json(FILE)
    }

    /// Changes what is open. On return it is on the disk. Nothing is written if nothing changes.
    ///
    /// # Errors
    /// The disk refuses; then the old content is still there.
    pub fn edit_push_journal(
        &self,
        change: impl FnOnce(&mut PushJournal),
    ) -> Result<(), JournalError> {
        let before = self.push_journal()?;
        let mut after = before.clone();
        change(&mut after);
        if before == after { Ok(()) } else { self.replace_json(FILE, &after) }
    }
}
