//! The lock of the state directory. The system lets go of it when its holder ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{JournalError, on};

/// Locks the directory for this process and writes its ID into the lock file.
///
/// # Errors
/// Another process holds the lock; it is named.
pub fn acquire(root: &Path) -> Result<File, JournalError> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(on("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(JournalError::InUse { path: root.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(error)) => return Err(on("lock", &path)(error)),
    }
    let content = format!("{}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.write_all(content.as_bytes()));
    written.map_err(on("write", &path))?;
    Ok(file)
}

/// Whether nobody holds the directory. A lock file that cannot be opened is left to [`acquire`].
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
    fn a_second_holder_is_told_who_the_first_is() {
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
