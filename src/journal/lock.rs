//! The lock of the state directory. The system releases it when the process ends, in any way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{JournalError, on, takes_no_bytes};

/// The lock, and whether the disk accepted the process ID.
#[derive(Debug)]
pub struct Lock {
    /// Held until it is dropped.
    /// The lock file, or the directory.
    pub file: File,
    /// Why nothing can be written to the lock file.
    pub unwritable: Option<io::Error>,
}

/// Locks the directory for this process and writes its ID into the lock file.
///
/// A disk that accepts no bytes is no reason to stop: the service of an unfinished update may be
/// down, and the rollback needs no new bytes. The lock itself writes nothing (flock(2)).
///
/// # Errors
/// Another process holds the lock; it is named.
pub fn acquire(root: &Path) -> Result<Lock, JournalError> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let (mut file, unwritable) = match options.open(&path) {
        Ok(file) => (file, None),
        Err(error) if takes_no_bytes(&error) => {
            // Without a lock file the directory itself is locked.
            let file = File::open(&path).or_else(|_| File::open(root));
            (file.map_err(on("open", &path))?, Some(error))
        }
        Err(error) => return Err(on("open", &path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(JournalError::InUse { path: root.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(on("lock", &path)(error)),
    }
    if unwritable.is_some() {
        return Ok(Lock { file, unwritable });
    }
    let content = format!("{}\n", std::process::id());
    // In this order no disk space is released that a full disk would not provide again.
    let length = u64::try_from(content.len()).unwrap_or_default();
    let written = file.write_all(content.as_bytes()).and_then(|()| file.set_len(length));
    match written {
        Ok(()) => Ok(Lock { file, unwritable: None }),
        Err(error) if takes_no_bytes(&error) => Ok(Lock { file, unwritable: Some(error) }),
        Err(error) => Err(on("write", &path)(error)),
    }
}

/// Checks that no process holds the directory. A lock file that cannot be opened is left to
/// [`acquire`].
///
/// # Errors
/// Another process holds the lock; it is named.
pub fn look(root: &Path) -> Result<(), JournalError> {
    let Ok(mut file) = File::open(root.join("lock")) else { return Ok(()) };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            Err(JournalError::InUse { path: root.to_owned(), holder: holder(&mut file) })
        }
        _ => Ok(()),
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_gets_the_name_of_the_holder() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = acquire(directory.path()).expect("the lock");
        let Err(JournalError::InUse { holder, .. }) = acquire(directory.path()) else {
            panic!("the lock was given twice");
        };
        assert_eq!(holder, std::process::id().to_string());
        assert!(matches!(look(directory.path()), Err(JournalError::InUse { .. })));
        drop(first);
        look(directory.path()).expect("nobody holds it");
        acquire(directory.path()).expect("the lock again");
    }
}
