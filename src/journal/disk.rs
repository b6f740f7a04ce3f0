//! The disk operations of the journal. Each says what a power cut leaves.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The suffix of a file that is being written to replace another one.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// A directory of small files.
pub trait Disk: Send + Sync + 'static {
    /// Creates a directory with mode 0700, if it does not exist.
    ///
    /// # Errors
    /// The system's.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a directory.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// The content of a file; `None` if there is none.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Creates a new file with mode 0600. On return it is on the disk, name included.
    ///
    /// # Errors
    /// The system's; also if the file exists.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Appends to a file. With `durable`, the data is on the disk on return; without, a power cut
    /// may lose or tear it.
    ///
    /// # Errors
    /// The system's.
    fn append(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()>;

    /// Flushes a file. On return its content is on the disk.
    ///
    /// # Errors
    /// The system's.
    fn flush(&self, path: &Path) -> io::Result<()>;

    /// Replaces a whole file. A power cut leaves the old or the new content, never a mixture; on
    /// return it is the new one.
    ///
    /// # Errors
    /// The system's.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Removes a file. On return the removal is on the disk. A missing file is no error.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Only the agent may read the state directory's files: a journal contains a container's
/// environment.
pub(super) const FILE_MODE: u32 = 0o600;
pub(super) const DIRECTORY_MODE: u32 = 0o700;

impl Disk for RealDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        file.write_all(content)?;
        file.sync_all()?;
        sync_parent(path)
    }

    fn append(&self, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
        let is_new = !path.try_exists()?;
        let mut file = OpenOptions::new().append(true).mode(FILE_MODE).create(true).open(path)?;
        file.write_all(content)?;
        if durable {
            file.sync_all()?;
        }
        if durable && is_new { sync_parent(path) } else { Ok(()) }
    }

    fn flush(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(TEMPORARY_SUFFIX);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let mut file = options.open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Ok(()) => sync_parent(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A file name is on the disk only once its directory is (ext4, `fsync(2)`).
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
