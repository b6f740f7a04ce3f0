//! The journal of one running update: a header and a line for the start and end of every step.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{Disk, JournalError, StateDirectory, lines, on, to_json};
use crate::core::update::plan::Header;
use crate::core::update::{
    JournalEntry, JournalLine, JournalProgress, Mark, Note, Step, self_update,
};

const SUFFIX: &str = ".jsonl";

/// An open journal.
#[derive(Debug, Clone)]
pub struct UpdateJournal {
    path: PathBuf,
    /// The plan and what is needed to undo it.
    pub header: Header,
    /// The progress so far.
    pub progress: JournalProgress,
    /// Whether a power cut or a full disk has torn its last line: the next line must not be joined
    /// to it.
    is_torn: bool,
}

impl UpdateJournal {
    /// Whether it concerns the container with this ID: a process in that container must not carry
    /// it out.
    #[must_use]
    pub fn concerns(&self, container: &str) -> bool {
        self_update::concerns(&self.header, &self.progress, container)
    }
}

impl<D: Disk> StateDirectory<D> {
    /// Begins a journal. On return its header is on the disk, and the update may begin.
    ///
    /// A machine without a clock of its own may have the same time twice, so an ID that is in the
    /// history, or in an open journal, gets a number appended.
    ///
    /// # Errors
    /// The disk refuses; then nothing may be done.
    pub fn begin(&self, mut header: Header) -> Result<UpdateJournal, JournalError> {
        let mut taken = taken_ids(self)?;
        taken.extend(self.open_journals()?.into_iter().map(|journal| journal.header.plan.id));
        header.plan.id = unused(header.plan.id, &taken);
        let path = self.path("journal").join(format!("{}{SUFFIX}", header.plan.id));
        let content = to_json(&path, &header)?;
        self.disk.create(&path, &content).map_err(on("write", &path))?;
        Ok(UpdateJournal { path, header, progress: JournalProgress::default(), is_torn: false })
    }

    /// The open journals, oldest first.
    ///
    /// A journal file whose header is torn or missing is removed: nothing is done before the header
    /// is on the disk, so nothing is lost. Files of other names are not touched.
    ///
    /// # Errors
    /// The directory or a file cannot be read, or a journal is from a newer version.
    pub fn open_journals(&self) -> Result<Vec<UpdateJournal>, JournalError> {
        let directory = self.path("journal");
        if !self.is_owner() && !self.root().join("layout").exists() {
            return Ok(Vec::new());
        }
        let mut journals = Vec::new();
        let names = self.disk.list(&directory).map_err(on("read", &directory))?;
        for name in names.iter().filter(|name| is_ours(name)) {
            let path = directory.join(name);
            match self.open_journal(&path)? {
                Some(journal) => journals.push(journal),
                // A disk that cannot remove it must not keep a service down.
                None if self.is_owner() => drop(self.disk.remove(&path)),
                None => {}
            }
        }
        Ok(journals)
    }

    fn open_journal(&self, path: &Path) -> Result<Option<UpdateJournal>, JournalError> {
        if self.is_owner() {
            // After a kill between a write and its flush the file contains lines that a power cut
            // could still remove. So it is flushed before the next action. If the disk cannot
            // flush, the service still goes first.
            drop(self.disk.flush(path));
        }
        let content = self.disk.read(path).map_err(on("read", path))?.unwrap_or_default();
        let Some(end) = content.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let damaged = |detail: String| JournalError::Damaged { path: path.to_owned(), detail };
        let header: Header =
            serde_json::from_slice(&content[..end]).map_err(|error| damaged(error.to_string()))?;
        let is_torn = content.last() != Some(&b'\n');
        let progress = JournalProgress::of_journal(&read_lines(&content[end..], is_torn));
        Ok(Some(UpdateJournal { path: path.to_owned(), header, progress, is_torn }))
    }

    /// Writes one entry. Outside of the service gap it is on the disk on return, and with it all
    /// earlier changes of the Engine, if both share a file system. A verdict is always on the disk:
    /// a bad image must not be started again after a power cut.
    ///
    /// # Errors
    /// The disk refuses; the next step must not begin.
    pub fn write(
        &self,
        journal: &mut UpdateJournal,
        at: DateTime<Utc>,
        step: Step,
        mark: Mark,
        note: Note,
    ) -> Result<(), JournalError> {
        let entry = journal.progress.next(at, step, mark, note);
        let is_in_service_gap =
            step.is_in_service_gap() || (step, mark) == (Step::Switch, Mark::Done);
        let durable = !is_in_service_gap || mark == Mark::Failed;
        let mut line = to_json(&journal.path, &entry)?;
        if journal.is_torn {
            line.insert(0, b'\n');
        }
        // A full disk may have written a part of it.
        journal.is_torn = true;
        self.disk.append(&journal.path, &line, durable).map_err(on("write", &journal.path))?;
        journal.is_torn = false;
        journal.progress.take(&entry);
        Ok(())
    }

    /// Ends an update: its journal is removed.
    ///
    /// # Errors
    /// The disk refuses; a later recovery will find nothing left to do.
    pub fn close(&self, journal: &UpdateJournal) -> Result<(), JournalError> {
        self.disk.remove(&journal.path).map_err(on("remove", &journal.path))
    }
}

/// A line without an end is the beginning of an entry, or what a power cut left of the last one.
fn read_lines(content: &[u8], is_torn: bool) -> Vec<JournalLine> {
    let read = |line: serde_json::Result<JournalEntry>| match line {
        Ok(entry) => JournalLine::JournalEntry(Box::new(entry)),
        Err(error) if error.is_eof() => JournalLine::Torn,
        Err(_) => JournalLine::Damaged,
    };
    let mut lines: Vec<JournalLine> = lines(content).map(read).collect();
    if let Some(last) = lines.last_mut().filter(|last| is_torn && **last == JournalLine::Damaged) {
        *last = JournalLine::Torn;
    }
    lines
}

/// Whether a file has a name from `Plan::make_id`: time, and container.
pub(super) fn is_ours(name: &str) -> bool {
    let Some(id) = name.strip_suffix(SUFFIX) else { return false };
    let Some((time, container)) = id.split_once("Z-") else { return false };
    let is_of_time = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'T' | b'.');
    !container.is_empty() && time.contains('T') && time.bytes().all(is_of_time)
}

/// The IDs of the history.
pub(super) fn taken_ids<D: Disk>(
    state: &StateDirectory<D>,
) -> Result<BTreeSet<String>, JournalError> {
    Ok(state.history()?.into_iter().map(|record| record.id).collect())
}

/// The ID itself, or with the lowest number that makes it new.
pub(super) fn unused(id: String, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    let candidates = std::iter::once(id.clone()).chain(numbered);
    candidates.into_iter().find(|candidate| !taken.contains(candidate)).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::is_ours;
    use crate::core::update::plan::Plan;

    #[test]
    fn only_names_that_this_program_makes_are_ours() {
        for container in ["till", "a.b_c-d", "Z-Z"] {
            let id = Plan::make_id(container, chrono::DateTime::UNIX_EPOCH);
            assert!(is_ours(&format!("{id}.jsonl")), "{id}");
            assert!(is_ours(&format!("{id}-2.jsonl")), "{id}");
        }
        for foreign in ["notes.jsonl", "README", "lost+found", ".jsonl", "a-b.jsonl", "TZ-.jsonl"] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }
}
