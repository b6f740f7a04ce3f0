//! File modes: no other user may read or change the state directory. A journal contains a
//! container's environment, and the memory decides which image is started.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::disk::{DIRECTORY_MODE, FILE_MODE};
use super::{JournalError, on, service_journal, update_journal};

/// The mode bits of other users: the group, and all others.
const OTHERS: u32 = 0o077;

/// The mode bits that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// The files of this program, except the journals.
const OURS: [&str; 5] = ["layout", "lock", "memory.json", "history.jsonl", "handover.json"];

/// Removes other users' access to the directory and its files, as far as they are this program's.
/// Returns what was changed. A volume of Docker has mode 0755.
///
/// # Errors
/// Others may write into the directory, and it is not this program's.
pub(super) fn mend(root: &Path) -> Result<Vec<String>, JournalError> {
    let mode = mode_of(root).map_err(on("read", root))?;
    let mut mended = Vec::new();
    if mode & OTHERS != 0 {
        let is_closed = is_ours(root) && close(root, DIRECTORY_MODE);
        if !is_closed && mode & OTHERS_WRITE != 0 {
            return Err(JournalError::Exposed { path: root.to_owned() });
        }
        if is_closed && mode & OTHERS_WRITE != 0 {
            mended.push(root.to_owned());
        }
    }
    let directories = ["journal", service_journal::DIRECTORY].map(|name| root.join(name));
    let is_journal = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(update_journal::is_ours)
    };
    let journals = directories.iter().flat_map(|it| list(it)).filter(is_journal);
    let files = OURS.iter().map(|name| root.join(name)).chain(journals);
    let open = |path: &PathBuf| mode_of(path).is_ok_and(|mode| mode & OTHERS != 0);
    mended.extend(files.filter(open).filter(|path| close(path, FILE_MODE)));
    mended.extend(directories.into_iter().filter(open).filter(|it| close(it, DIRECTORY_MODE)));
    Ok(mended.iter().map(|path| told(path)).collect())
}

fn told(path: &Path) -> String {
    format!("{} was open to other users, and has been closed to them", path.display())
}

fn mode_of(path: &Path) -> std::io::Result<u32> {
    // The target of a link is not this program's.
    Ok(fs::symlink_metadata(path)?.permissions().mode())
}

/// Whether the directory is this program's: it was used before, or it is still empty.
fn is_ours(root: &Path) -> bool {
    root.join("layout").is_file() || list(root).iter().all(|path| path.ends_with("lock"))
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn close(path: &Path, mode: u32) -> bool {
    let is_link = fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
    !is_link && fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::StateDirectory;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    }

    fn mode(path: &Path) -> u32 {
        mode_of(path).expect("a mode") & 0o777
    }

    #[test]
    fn our_files_are_closed_to_others_and_reported() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("state");
        fs::create_dir(&root).expect("a volume, as Docker makes it");
        chmod(&root, 0o755);
        drop(StateDirectory::open(&root).expect("it is taken over"));
        assert_eq!(mode(&root), 0o700);
        let memory = root.join("memory.json");
        fs::write(&memory, "{}").expect("a file");
        let journal = root.join("journal");
        let services = root.join(service_journal::DIRECTORY);
        fs::create_dir(&services).expect("a directory");
        for (path, open) in
            [(&root, 0o777), (&memory, 0o644), (&journal, 0o755), (&services, 0o755)]
        {
            chmod(path, open);
        }
        let state = StateDirectory::open(&root).expect("it is mended");
        assert_eq!((mode(&root), mode(&memory), mode(&journal)), (0o700, 0o600, 0o700));
        assert_eq!(mode(&services), 0o700);
        assert_eq!(state.notes().len(), 4, "{:?}", state.notes());
        drop(state);
        assert!(StateDirectory::open(&root).expect("again").notes().is_empty());
    }

    #[test]
    fn what_others_use_too_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("theirs"), "").expect("a file");
        chmod(directory.path(), 0o777);
        let refused = StateDirectory::open(directory.path());
        assert!(matches!(refused, Err(JournalError::Exposed { .. })), "{refused:?}");
        assert_eq!(mode(directory.path()), 0o777);
        chmod(directory.path(), 0o755);
        StateDirectory::open(directory.path()).expect("others only see that it is there");
        assert_eq!(mode(directory.path()), 0o755);
    }
}
