//! The audit of the push API: one line for each request, limited in bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::Disk;

/// Largest size of the file in bytes: some three thousand requests. Then it becomes the file of the
/// past, and the one before is gone.
const BYTES_MAX: usize = 1024 * 1024;

/// The file, and the file of the past.
const FILE: &str = "audit.jsonl";
const PAST_FILE: &str = "audit.1.jsonl";

/// The audit. A power cut may lose the lines of the last seconds: what a client has changed is in
/// the history too, which is flushed.
pub struct AuditLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    past: PathBuf,
    /// The size of the file in bytes; absent until it is known.
    size: Mutex<Option<usize>>,
}

impl AuditLog {
    /// The audit in this state directory.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, state_dir: &Path) -> Self {
        let (path, past) = (state_dir.join(FILE), state_dir.join(PAST_FILE));
        Self { disk, path, past, size: Mutex::default() }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add(&self, entry: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *size {
            Some(size) => size,
            None => self.disk.read(&self.path)?.unwrap_or_default().len(),
        };
        // If the disk refuses half-way, the file is measured again.
        *size = None;
        let before = if before + line.len() > BYTES_MAX { self.rotate()? } else { before };
        self.disk.append(&self.path, &line, false)?;
        *size = Some(before + line.len());
        Ok(())
    }

    /// Empties the file; its lines become those of the past. A power cut leaves lines twice, or all
    /// of them, but loses none.
    fn rotate(&self) -> io::Result<usize> {
        let lines = self.disk.read(&self.path)?.unwrap_or_default();
        self.disk.replace(&self.past, &lines)?;
        self.disk.remove(&self.path)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::RealDisk;

    #[test]
    fn the_audit_keeps_the_newest_lines_and_has_a_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = AuditLog::new(Arc::new(RealDisk), directory.path());
        let text = "x".repeat(1000);
        for number in 0..3000 {
            log.add(&(number, &text)).expect("a disk");
        }
        let read = |name: &str| {
            let text = std::fs::read_to_string(directory.path().join(name)).expect("a file");
            assert!(text.len() <= BYTES_MAX, "{}", text.len());
            let number =
                |line: &str| serde_json::from_str::<(usize, String)>(line).expect("a line").0;
            text.lines().map(number).collect::<Vec<_>>()
        };
        let all: Vec<_> = read(PAST_FILE).into_iter().chain(read(FILE)).collect();
        assert!(all.len() > 1000);
        assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]), "no line is missing");
        assert_eq!(all.last(), Some(&2999));
    }

    #[test]
    fn the_audit_goes_on_after_a_restart_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        for number in 0..2 {
            AuditLog::new(Arc::new(RealDisk), directory.path()).add(&number).expect("a disk");
        }
        let path = directory.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "0\n1\n");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
