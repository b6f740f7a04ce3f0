//! Layer 1: data that must survive a power cut. Journals of running updates, the memory of refused
//! digests, the history, and the lock that keeps two processes apart.
//!
//! Everything is JSON, one document per line or file, so that a person can read it on a broken
//! machine. Only a torn last line is ignored. A round that changes nothing writes nothing.

pub mod disk;
mod agent_id;
mod self_update;
mod fleet;
mod starts;
mod audit;
mod history;
mod lock;
mod lock_change;
mod mirror;
mod modes;
mod push;
mod service_journal;
mod update_journal;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::decide::memory::Memory;
pub use audit::AuditLog;
use disk::TEMPORARY_SUFFIX;
pub use disk::{Disk, RealDisk};
pub use service_journal::ServiceJournal;
pub use update_journal::UpdateJournal;

/// Version of the layout of the state directory.
const LAYOUT: &str = "1";

/// The memory of the agent.
const MEMORY_FILE: &str = "memory.json";

/// Why something could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("cannot {act} {path}: {source}{advice}", path = path.display(), advice = advice(source))]
    Disk {
        /// The operation: `read`, `write`, …
        act: &'static str,
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Another process works with this directory.
    #[error("{path} is in use by process {holder}; two agents must not share a state directory", path = path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// The process that holds it, as far as known.
        holder: String,
    },
    /// The directory was written by a later version of this program.
    #[error("{path} was written by a newer version of pilotfish (layout {found}); install that version again, or use another state_dir", path = path.display())]
    Newer { path: PathBuf, found: String },
    /// Other users could change the files.
    #[error("{path} can be written by others than its owner, and holds more than pilotfish's own files, so its mode is left as it is: name a directory of its own as state_dir, or `chmod go-w` this one", path = path.display())]
    Exposed { path: PathBuf },
    /// A file was not written by this program.
    #[error("{path} cannot be read: {detail}; move it away to continue without it", path = path.display())]
    Damaged { path: PathBuf, detail: String },
}

/// What to do about a disk error, if it is known.
fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => "; run this as root, or as the user the agent runs as",
        ErrorKind::NotADirectory => "; state_dir must name a directory",
        ErrorKind::ReadOnlyFilesystem => "; let state_dir name a directory that can be written",
        ErrorKind::StorageFull => "; make room on that disk",
        _ => "",
    }
}

/// Whether the disk accepts no bytes: it is full, over its quota, or read-only.
fn takes_no_bytes(error: &std::io::Error) -> bool {
    use ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// The access to the directory.
#[derive(Debug)]
enum Access {
    /// Only reads; the owner may work with the directory at the same time.
    Reader,
    /// Held for the life of the process; the system releases it when the process ends.
    Owner {
        /// Absent if the caller keeps other processes away.
        _lock: Option<std::fs::File>,
    },
}

/// The state directory.
#[derive(Debug)]
pub struct StateDirectory<D> {
    disk: D,
    root: PathBuf,
    access: Access,
    /// Notes for a person, each a sentence or two.
    notes: Vec<String>,
}

/// The files that are replaced as a whole.
const REPLACED_FILES: [&str; 8] = [
    "layout",
    MEMORY_FILE,
    "history.jsonl",
    "handover.json",
    "fleet.json",
    "mirror.json",
    "push.json",
    "starts",
];

impl StateDirectory<RealDisk> {
    /// Opens the state directory: creates it if it is missing, locks it, and removes other users'
    /// access. A directory that accepts no bytes is opened all the same, with a note: restoring a
    /// service needs no bytes, and no update begins without its journal.
    ///
    /// # Errors
    /// It cannot be used, is in use, or belongs to a newer version.
    pub fn open(root: &Path) -> Result<Self, JournalError> {
        Self::check(root)?;
        let disk = RealDisk;
        disk.create_directory(root).map_err(on("create", root))?;
        let lock::Lock { file, unwritable } = lock::acquire(root)?;
        let mut notes = modes::mend(root)?;
        notes.extend(unwritable.map(|error| unwritable_note(root, &error)));
        let directory = Self::with(disk, root, Some(file))?;
        Ok(Self { notes, ..directory })
    }

    /// Checks that it could be opened, without changing anything.
    ///
    /// # Errors
    /// It belongs to a newer version, cannot be read, or is in use.
    pub fn check(root: &Path) -> Result<(), JournalError> {
        Self::reading(root)?;
        lock::look(root)
    }

    /// The state directory for a reader: nothing is created, repaired or locked, and a missing
    /// directory is empty.
    ///
    /// # Errors
    /// It belongs to a newer version, or cannot be read.
    pub fn reading(root: &Path) -> Result<Self, JournalError> {
        let directory = Self {
            disk: RealDisk,
            root: root.to_owned(),
            access: Access::Reader,
            notes: Vec::new(),
        };
        directory.check_layout()?;
        Ok(directory)
    }
}

impl<D: Disk> StateDirectory<D> {
    /// A state directory on any disk. The caller keeps other processes away.
    ///
    /// # Errors
    /// It cannot be written, or belongs to a newer version.
    pub fn with(disk: D, root: &Path, lock: Option<std::fs::File>) -> Result<Self, JournalError> {
        let access = Access::Owner { _lock: lock };
        let directory = Self { disk, root: root.to_owned(), access, notes: Vec::new() };
        let journals = directory.path("journal");
        directory.disk.create_directory(&journals).map_err(on("create", &journals))?;
        directory.check_layout()?;
        directory.remove_what_was_half_written()?;
        Ok(directory)
    }

    /// An interrupted replacement leaves its new content beside the file.
    fn remove_what_was_half_written(&self) -> Result<(), JournalError> {
        let names = self.disk.list(&self.root).map_err(on("read", &self.root))?;
        let is_ours = |name: &str| {
            name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(|name| REPLACED_FILES.contains(&name))
        };
        for name in names.iter().filter(|name| is_ours(name)) {
            // The file does no harm, so a disk that cannot remove it must not stop the agent from
            // restoring a service.
            let _ = self.disk.remove(&self.path(name));
        }
        Ok(())
    }

    /// Notes for a person about the directory.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The path of the directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The memory of the agent.
    ///
    /// # Errors
    /// The file cannot be read. There is no default: a forgotten refusal would start a bad image
    /// again.
    pub fn memory(&self) -> Result<Memory, JournalError> {
        self.read_json(MEMORY_FILE)
    }

    /// Replaces the memory. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old memory is still there.
    pub fn remember(&self, memory: &Memory) -> Result<(), JournalError> {
        self.replace_json(MEMORY_FILE, memory)
    }

    /// The content of a file that holds one JSON document; the default if there is no such file.
    fn read_json<T: Default + DeserializeOwned>(&self, file: &str) -> Result<T, JournalError> {
        let path = self.path(file);
        let Some(content) = self.disk.read(&path).map_err(on("read", &path))? else {
            return Ok(T::default());
        };
        serde_json::from_slice(&content)
            .map_err(|error| JournalError::Damaged { path, detail: error.to_string() })
    }

    /// Replaces such a file. On return it is on the disk; if the disk refuses, the old content is
    /// still there.
    fn replace_json(&self, file: &str, value: &impl Serialize) -> Result<(), JournalError> {
        let path = self.path(file);
        let content = to_json(&path, value)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }

    /// Whether this process may write. A reader must not: the owner may work at the same time.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        matches!(self.access, Access::Owner { .. })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn check_layout(&self) -> Result<(), JournalError> {
        let path = self.path("layout");
        match self.disk.read(&path).map_err(on("read", &path))? {
            None if self.is_owner() => match self.disk.replace(&path, LAYOUT.as_bytes()) {
                Err(error) if takes_no_bytes(&error) => Ok(()),
                written => written.map_err(on("write", &path)),
            },
            None => Ok(()),
            Some(found) if found.trim_ascii() == LAYOUT.as_bytes() => Ok(()),
            Some(found) => Err(JournalError::Newer {
                path: self.root.clone(),
                found: String::from_utf8_lossy(found.trim_ascii()).into_owned(),
            }),
        }
    }
}

/// The note for a state directory that accepts no bytes.
fn unwritable_note(root: &Path, error: &std::io::Error) -> String {
    format!(
        "nothing can be remembered in {}: {error}{}. Unfinished updates are rolled back, and no \
         update is begun until it can be written",
        root.display(),
        advice(error)
    )
}

fn on(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { act, path, source }
}

fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, JournalError> {
    let wrong = |error: serde_json::Error| JournalError::Damaged {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let mut content = serde_json::to_vec(value).map_err(wrong)?;
    content.push(b'\n');
    Ok(content)
}

/// The lines of a file, oldest first, each parsed or an error.
fn lines<T: DeserializeOwned>(content: &[u8]) -> impl Iterator<Item = serde_json::Result<T>> {
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line))
}
