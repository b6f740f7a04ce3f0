//! Floor 1: what must survive a power cut. Journals of updates in flight, the memory of refused
//! digests, the history, and the lock that keeps two processes apart.
//!
//! Everything is JSON, one document a line or a file, so that a person can read it on a broken
//! machine. A torn last line is ignored, and no other; nothing is written by a round that changes
//! nothing.

pub mod disk;
mod agent_id;
mod self_update;
mod history;
mod lock;
mod modes;
mod update_journal;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::core::decide::memory::Memory;
use disk::TEMPORARY_SUFFIX;
pub use disk::{Disk, RealDisk};
pub use update_journal::UpdateJournal;

/// Version of the layout of the state directory.
const LAYOUT: &str = "1";

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("cannot {act} {path}: {source}{advice}", path = path.display(), advice = advice(source))]
    Disk {
        /// What was tried: `read`, `write`, …
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process works with this directory.
    #[error("{path} is in use by process {holder}; two agents must not share a state directory", path = path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// The process that holds it, or what is known of it.
        holder: String,
    },
    /// The directory was written by a later version of this program.
    #[error("{path} was written by a newer version of pilotfish (layout {found}); install that version again, or use another state_dir", path = path.display())]
    Newer {
        /// The state directory.
        path: PathBuf,
        /// The layout that was found.
        found: String,
    },
    /// Others than this user could change what is kept here.
    #[error("{path} can be written by others than its owner, and holds more than pilotfish's own files, so its mode is left as it is: name a directory of its own as state_dir, or `chmod go-w` this one", path = path.display())]
    Exposed {
        /// The state directory.
        path: PathBuf,
    },
    /// A file is not what this program wrote.
    #[error("{path} cannot be understood: {detail}; move it away to go on without it", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

/// What to do about a disk that refuses, where that can be told.
fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::PermissionDenied => "; run this as root, or as the user the agent runs as",
        ErrorKind::NotADirectory => "; state_dir must name a directory",
        ErrorKind::ReadOnlyFilesystem => "; let state_dir name a directory that can be written",
        ErrorKind::StorageFull => "; make room on that disk",
        _ => "",
    }
}

/// Whether the disk takes no bytes: it is full, over its quota, or cannot be written at all.
fn takes_no_bytes(error: &std::io::Error) -> bool {
    use ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// Who may do what with the directory.
#[derive(Debug)]
enum Access {
    /// Only looks; whoever works with the directory may be at it meanwhile.
    Reader,
    /// Held for the life of the process; the system lets go of it when the process ends, however.
    Owner {
        /// Absent where somebody else keeps other processes away.
        _lock: Option<std::fs::File>,
    },
}

/// The state directory.
#[derive(Debug)]
pub struct StateDirectory<D> {
    disk: D,
    root: PathBuf,
    access: Access,
    /// What a person should hear of it, each a sentence or two.
    notes: Vec<String>,
}

/// The files that are replaced as a whole.
const REPLACED_FILES: [&str; 4] = ["layout", "memory.json", "history.jsonl", "handover.json"];

impl StateDirectory<RealDisk> {
    /// Opens the state directory, makes it where it is missing, locks it, and takes it away from
    /// others' hands. One that takes no bytes is opened all the same, and that is noted: bringing a
    /// service back needs none, and no update begins without its journal.
    ///
    /// # Errors
    /// It cannot be used, is in use, or belongs to a newer version.
    pub fn open(root: &Path) -> Result<Self, JournalError> {
        Self::check(root)?;
        let disk = RealDisk;
        disk.create_directory(root).map_err(on("create", root))?;
        let lock::Lock { file, unwritable } = lock::acquire(root)?;
        let mut notes = modes::mend(root)?;
        notes.extend(unwritable.map(|error| forgets(root, &error)));
        let directory = Self::with(disk, root, Some(file))?;
        Ok(Self { notes, ..directory })
    }

    /// Whether it could be opened, without a trace in it.
    ///
    /// # Errors
    /// It belongs to a newer version, cannot be read, or is in use.
    pub fn check(root: &Path) -> Result<(), JournalError> {
        Self::reading(root)?;
        lock::look(root)
    }

    /// The state directory as a reader sees it: nothing is made, mended or locked, and a directory
    /// that is not there is empty.
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

    /// A replacement that was cut short leaves its new content beside the file.
    fn remove_what_was_half_written(&self) -> Result<(), JournalError> {
        let names = self.disk.list(&self.root).map_err(on("read", &self.root))?;
        let is_ours = |name: &str| {
            name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(|name| REPLACED_FILES.contains(&name))
        };
        for name in names.iter().filter(|name| is_ours(name)) {
            // It is in nobody's way: a disk that cannot even remove it must not keep the agent
            // from bringing a service back.
            let _ = self.disk.remove(&self.path(name));
        }
        Ok(())
    }

    /// What a person should hear of the directory.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Where the directory is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is remembered.
    ///
    /// # Errors
    /// The file cannot be read or understood. Nothing is guessed: a forgotten refusal would start
    /// a bad image again.
    pub fn memory(&self) -> Result<Memory, JournalError> {
        let path = self.path("memory.json");
        let Some(content) = self.disk.read(&path).map_err(on("read", &path))? else {
            return Ok(Memory::default());
        };
        serde_json::from_slice(&content)
            .map_err(|error| JournalError::Damaged { path, detail: error.to_string() })
    }

    /// Replaces what is remembered. On return it is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old memory is still there.
    pub fn remember(&self, memory: &Memory) -> Result<(), JournalError> {
        let path = self.path("memory.json");
        let content = to_json(&path, memory)?;
        self.disk.replace(&path, &content).map_err(on("write", &path))
    }

    fn is_owner(&self) -> bool {
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

/// What a person hears of a state directory that takes no bytes.
fn forgets(root: &Path, error: &std::io::Error) -> String {
    format!(
        "nothing can be remembered in {}: {error}{}. What was left open is brought back, and no \
         update is begun until it can be written",
        root.display(),
        advice(error)
    )
}

fn on(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Disk { act, path, source }
}

fn to_json(path: &Path, value: &impl serde::Serialize) -> Result<Vec<u8>, JournalError> {
    let wrong = |error: serde_json::Error| JournalError::Damaged {
        path: path.to_owned(),
        detail: error.to_string(),
    };
    let mut content = serde_json::to_vec(value).map_err(wrong)?;
    content.push(b'\n');
    Ok(content)
}

/// The lines of a file, oldest first, each understood or not.
fn lines<T: serde::de::DeserializeOwned>(
    content: &[u8],
) -> impl Iterator<Item = serde_json::Result<T>> {
    let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line))
}
