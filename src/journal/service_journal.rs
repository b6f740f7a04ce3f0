//! The journal of the update of a service, like that of a container: a header, and a line for the
//! start and end of every step. It is in a directory of its own, which an older version of this
//! program does not read.

use std::path::{Path, PathBuf};

use super::update_journal::{is_ours, taken_ids, unused};
use super::{Disk, JournalError, StateDirectory, lines, on, to_json};
use crate::core::service::plan::ServiceHeader;
use crate::core::service::progress::{ServiceEntry, ServiceProgress};

/// The directory of these journals.
pub(super) const DIRECTORY: &str = "services";

/// An open journal.
#[derive(Debug, Clone)]
pub struct ServiceJournal {
    path: PathBuf,
    /// The plan and what is needed to undo it.
    pub header: ServiceHeader,
    /// The progress so far.
    pub progress: ServiceProgress,
    /// Whether its last line is torn: the next line must not be joined to it.
    is_torn: bool,
}

impl<D: Disk> StateDirectory<D> {
    /// Begins a journal. On return its header is on the disk, and the update may begin.
    ///
    /// # Errors
    /// The disk refuses; then nothing may be done.
    pub fn begin_service(&self, mut header: ServiceHeader) -> Result<ServiceJournal, JournalError> {
        let directory = self.path(DIRECTORY);
        self.disk.create_directory(&directory).map_err(on("create", &directory))?;
        let mut taken = taken_ids(self)?;
        let open = self.open_service_journals()?;
        taken.extend(open.into_iter().map(|journal| journal.header.plan.id));
        header.plan.id = unused(header.plan.id, &taken);
        let path = directory.join(format!("{}.jsonl", header.plan.id));
        let content = to_json(&path, &header)?;
        self.disk.create(&path, &content).map_err(on("write", &path))?;
        let progress = ServiceProgress::default();
        Ok(ServiceJournal { path, header, progress, is_torn: false })
    }

    /// The open journals of services, oldest first. A file whose header is torn is removed, because
    /// nothing is done before the header is on the disk.
    ///
    /// # Errors
    /// The directory or a file cannot be read, or a journal is from a newer version.
    pub fn open_service_journals(&self) -> Result<Vec<ServiceJournal>, JournalError> {
        let directory = self.path(DIRECTORY);
        let names = match self.disk.list(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(on("read", &directory))?,
        };
        let mut journals = Vec::new();
        for name in names.iter().filter(|name| is_ours(name)) {
            let path = directory.join(name);
            match self.open_service_journal(&path)? {
                Some(journal) => journals.push(journal),
                None if self.is_owner() => drop(self.disk.remove(&path)),
                None => {}
            }
        }
        Ok(journals)
    }

    fn open_service_journal(&self, path: &Path) -> Result<Option<ServiceJournal>, JournalError> {
        if self.is_owner() {
            // After a kill between a write and its flush, a power cut could still remove lines.
            drop(self.disk.flush(path));
        }
        let content = self.disk.read(path).map_err(on("read", path))?.unwrap_or_default();
        let Some(end) = content.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let damaged = |detail: String| JournalError::Damaged { path: path.to_owned(), detail };
        let header: ServiceHeader =
            serde_json::from_slice(&content[..end]).map_err(|error| damaged(error.to_string()))?;
        if header.version > ServiceHeader::VERSION {
            return Err(damaged(format!("it has format {}", header.version)));
        }
        let mut progress = ServiceProgress::default();
        // A line that cannot be read costs only a second look at the Swarm.
        lines::<ServiceEntry>(&content[end..]).flatten().for_each(|entry| progress.take(&entry));
        let is_torn = content.last() != Some(&b'\n');
        Ok(Some(ServiceJournal { path: path.to_owned(), header, progress, is_torn }))
    }

    /// Writes one entry. On return it is on the disk: Swarm acts on its own, so no entry is inside
    /// of a gap that the agent could shorten.
    ///
    /// # Errors
    /// The disk refuses; the next step must not begin.
    pub fn write_service(
        &self,
        journal: &mut ServiceJournal,
        entry: &ServiceEntry,
    ) -> Result<(), JournalError> {
        let mut line = to_json(&journal.path, entry)?;
        if journal.is_torn {
            line.insert(0, b'\n');
        }
        // A full disk may have written a part of it.
        journal.is_torn = true;
        self.disk.append(&journal.path, &line, true).map_err(on("write", &journal.path))?;
        journal.is_torn = false;
        journal.progress.take(entry);
        Ok(())
    }

    /// Ends an update: its journal is removed.
    ///
    /// # Errors
    /// The disk refuses; a later recovery will find nothing left to do.
    pub fn close_service(&self, journal: &ServiceJournal) -> Result<(), JournalError> {
        self.disk.remove(&journal.path).map_err(on("remove", &journal.path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::DateTime;

    use super::*;
    use crate::core::service::progress::ServiceStep;
    use crate::core::service::recorded;
    use crate::core::update::Mark;
    use crate::core::update::history::Cause;
    use crate::journal::RealDisk;

    fn open(directory: &tempfile::TempDir) -> StateDirectory<RealDisk> {
        StateDirectory::open(directory.path()).expect("a state directory")
    }

    fn header() -> ServiceHeader {
        recorded::header("till:2@sha256:2", true)
    }

    fn write(state: &StateDirectory<RealDisk>, journal: &mut ServiceJournal, mark: Mark) {
        let mut entry = journal.progress.next(DateTime::UNIX_EPOCH, ServiceStep::Watch, mark);
        entry.cause = (mark == Mark::Failed).then(|| Cause::image("it failed"));
        state.write_service(journal, &entry).expect("written");
    }

    #[test]
    fn an_open_journal_is_read_back_and_ids_do_not_repeat() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        assert_eq!(state.open_service_journals().expect("none").len(), 0);
        let mut journal = state.begin_service(header()).expect("a journal");
        let second = state.begin_service(header()).expect("a journal of the same millisecond");
        assert_eq!(second.header.plan.id, format!("{}-2", journal.header.plan.id));
        state.close_service(&second).expect("closed");
        write(&state, &mut journal, Mark::Started);
        write(&state, &mut journal, Mark::Failed);
        let read = state.open_service_journals().expect("one");
        assert_eq!(read.len(), 1);
        assert_eq!((&read[0].header, &read[0].progress), (&journal.header, &journal.progress));
        assert_eq!(read[0].progress.failed, Some(Cause::image("it failed")));
    }

    /// A power cut leaves any beginning of the file.
    #[test]
    fn every_beginning_of_a_journal_can_be_read_and_continued() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        let mut journal = state.begin_service(header()).expect("a journal");
        write(&state, &mut journal, Mark::Started);
        write(&state, &mut journal, Mark::Failed);
        let whole = fs::read(&journal.path).expect("a file");
        let header_end = whole.iter().position(|byte| *byte == b'\n').expect("a line");
        for length in (0..whole.len()).step_by(7).chain([header_end, header_end + 1, whole.len()]) {
            fs::write(&journal.path, &whole[..length]).expect("cut");
            let mut read = state.open_service_journals().expect("read");
            assert_eq!(read.len(), usize::from(length > header_end), "cut at {length}");
            let Some(mut cut) = read.pop() else { continue };
            write(&state, &mut cut, Mark::UndoDone);
            let read = state.open_service_journals().expect("read again");
            assert!(read[0].progress.is_back, "cut at {length}");
        }
    }

    #[test]
    fn a_journal_of_a_newer_version_is_not_guessed_at() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = open(&directory);
        let newer = ServiceHeader { version: ServiceHeader::VERSION + 1, ..header() };
        state.begin_service(newer).expect("a journal");
        let refused = state.open_service_journals();
        assert!(matches!(refused, Err(JournalError::Damaged { .. })), "{refused:?}");
    }
}
