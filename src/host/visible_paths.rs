//! Whether a path exists on the Engine's machine, seen through a visible directory.
//!
//! A path that is missing here may still exist: systemd gives a service a `/tmp` of its own, and a
//! container does not see mounts that the machine added after the container's start. So a path
//! counts as missing only if its mount is known to be the machine's own.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use crate::core::decide::start_requirements::{Presence, VisibleDirectory};

/// What is at a path of the machine. Nothing is opened for reading, because a device may react to
/// that.
pub(super) fn look(window: &VisibleDirectory, path: &Path) -> Presence {
    let Ok(inside) = path.strip_prefix(&window.source) else { return Presence::Unknown };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = open(&window.shown_at, flags, Mode::empty()) else { return Presence::Unknown };
    let place = RootDirectory { root, is_root_of_the_machine: window.source == Path::new("/") };
    match place.open(inside) {
        Ok(found) => kind(&found),
        Err(Errno::NOENT | Errno::NOTDIR) if is_really_missing(window, &place, inside) => {
            Presence::Missing
        }
        Err(_) => Presence::Unknown,
    }
}

/// A directory below which paths are looked up.
struct RootDirectory {
    root: OwnedFd,
    is_root_of_the_machine: bool,
}

impl RootDirectory {
    /// Symbolic links are followed as on the machine: an absolute one begins at the machine's root.
    /// If only a part of the machine is visible, a link out of that part is not followed.
    fn open(&self, inside: &Path) -> Result<OwnedFd, Errno> {
        let links = match self.is_root_of_the_machine {
            true => ResolveFlags::IN_ROOT,
            false => ResolveFlags::BENEATH,
        };
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        openat2(self.root.as_fd(), inside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), links)
    }
}

fn kind(found: &OwnedFd) -> Presence {
    let Ok(stat) = fstat(found) else { return Presence::Unknown };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => Presence::Device,
        FileType::Directory => Presence::Directory { may_hold_devices: may_hold_devices(found) },
        _ => Presence::Other,
    }
}

/// A directory that cannot be listed may contain anything.
fn may_hold_devices(directory: &OwnedFd) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let Ok(entries) = fs::read_dir(behind(directory)) else { return true };
    entries.flatten().any(|entry| {
        entry.file_type().is_ok_and(|kind| {
            kind.is_char_device() || kind.is_block_device() || kind.is_dir() || kind.is_symlink()
        })
    })
}

fn behind(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn is_really_missing(window: &VisibleDirectory, place: &RootDirectory, inside: &Path) -> bool {
    let nearest = inside.ancestors().skip(1).find_map(|above| place.open(above).ok());
    let real = nearest.and_then(|nearest| fs::read_link(behind(&nearest)).ok());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    real.is_some_and(|real| is_host_filesystem(&mounts, &real, window.is_whole_machine()))
}

/// Whether the mount of a path shows the machine's files, and later changes too. `mountinfo` is
/// proc(5)'s.
fn is_host_filesystem(mountinfo: &str, path: &Path, is_on_the_machine: bool) -> bool {
    let mounts = mountinfo.lines().filter_map(Mount::parse);
    let nearest = mounts
        .filter(|mount| path.starts_with(&mount.point))
        // Of several mounts at one place, the last one is on top.
        .max_by_key(|mount| mount.point.components().count());
    let Some(mount) = nearest else { return false };
    match mount.kind {
        // The kernel's own devices: one for the whole machine, for every place where it is mounted.
        "devtmpfs" => true,
        // A directory that systemd has covered, or a directory in memory.
        "tmpfs" => false,
        // systemd's private directories are mounts of another directory of the same disk.
        _ if is_on_the_machine => mount.root == Path::new("/") || mount.root == mount.point,
        // The container's own files, and mounts that do not receive later mounts.
        _ => mount.kind != "overlay" && mount.receives_later_mounts,
    }
}

struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    receives_later_mounts: bool,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    /// `36 35 98:0 /root /point options master:1 - kind source options`
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut tags = fields.skip(1);
        Some(Self {
            root: unescape(root),
            point: unescape(point),
            receives_later_mounts: tags
                .any(|tag| tag.starts_with("master:") || tag.starts_with("shared:")),
            kind: back.split(' ').next()?,
        })
    }
}

/// Spaces in the paths of mountinfo are octal: `\040`.
fn unescape(path: &str) -> PathBuf {
    let path = path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    PathBuf::from(path.replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const ON_A_PI: &str = "\
22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
23 22 0:5 / /dev rw,relatime shared:2 - devtmpfs udev rw
24 22 0:24 / /run rw,nosuid shared:3 - tmpfs tmpfs rw
25 22 8:1 / /mnt/usb\\040disk rw,relatime shared:4 - ext4 /dev/sda1 rw
26 22 179:2 /var /var ro,noatime master:5 - ext4 /dev/root rw
27 22 179:2 /tmp/systemd-private-1/tmp /tmp rw master:6 - ext4 /dev/root rw
28 22 0:25 /systemd/inaccessible/dir /root ro master:7 - tmpfs tmpfs rw
29 23 0:26 / /dev/shm rw - tmpfs tmpfs rw
";

    #[test]
    fn on_the_machine_itself_what_systemd_covered_is_not_seen() {
        for (path, is_own) in [
            ("/srv", true),
            ("/dev", true),
            ("/dev/serial/by-id", true),
            ("/mnt/usb disk", true),
            ("/var/lib", true),
            ("/tmp", false),
            ("/root/x", false),
            ("/run/user", false),
            ("/dev/shm", false),
        ] {
            assert_eq!(is_host_filesystem(ON_A_PI, Path::new(path), true), is_own, "{path}");
        }
        assert!(!is_host_filesystem("", Path::new("/srv"), true));
        assert!(!is_host_filesystem("rubbish\n1 2 3\n", Path::new("/srv"), true));
    }

    #[test]
    fn without_its_devices_a_service_does_not_see_that_one_is_missing() {
        let private = format!("{ON_A_PI}30 22 0:27 / /dev ro - tmpfs tmpfs ro\n");
        assert!(!is_host_filesystem(&private, Path::new("/dev"), true));
    }

    #[test]
    fn in_a_container_only_devices_and_mounts_that_follow_the_machine_tell() {
        let mounts = "\
50 49 0:40 / / rw - overlay overlay rw
51 50 179:2 / /host ro,relatime master:1 - ext4 /dev/root rw
52 50 179:2 /srv /srv ro,relatime - ext4 /dev/root rw
53 50 0:5 / /host2/dev rw,relatime - devtmpfs udev rw
54 50 0:41 / /dev rw,nosuid - tmpfs tmpfs rw
";
        for (path, is_own) in [
            ("/host/srv", true),
            ("/srv/x", false),
            ("/host2/dev", true),
            ("/dev", false),
            ("/etc", false),
        ] {
            assert_eq!(is_host_filesystem(mounts, Path::new(path), false), is_own, "{path}");
        }
    }

    #[test]
    fn a_path_is_seen_through_the_directory_that_shows_it() {
        let shown = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let window = VisibleDirectory { source: "/".into(), shown_at: shown.path().to_owned() };
        fs::create_dir_all(shown.path().join("srv/empty")).expect("directories");
        fs::create_dir_all(shown.path().join("srv/full/deep")).expect("directories");
        fs::write(shown.path().join("srv/file"), "").expect("a file");
        symlink("/srv/file", shown.path().join("absolute")).expect("a link");
        symlink("../srv/empty", shown.path().join("srv/relative")).expect("a link");
        let seen = |path: &str| look(&window, Path::new(path));
        assert_eq!(seen("/srv/file"), Presence::Other);
        assert_eq!(seen("/absolute"), Presence::Other);
        assert_eq!(seen("/srv/empty"), Presence::Directory { may_hold_devices: false });
        assert_eq!(seen("/srv/relative"), Presence::Directory { may_hold_devices: false });
        assert_eq!(seen("/srv/full"), Presence::Directory { may_hold_devices: true });
        let part = VisibleDirectory { source: "/data".into(), ..window };
        assert_eq!(look(&part, Path::new("/data/srv/file")), Presence::Other);
        assert_eq!(look(&part, Path::new("/data/absolute")), Presence::Unknown, "it leads out");
        assert_eq!(look(&part, Path::new("/elsewhere")), Presence::Unknown);
    }

    #[test]
    fn devices_files_missing_and_hidden_paths_are_distinguished() {
        let whole = VisibleDirectory::whole_machine();
        assert_eq!(look(&whole, Path::new("/dev/null")), Presence::Device);
        assert_eq!(look(&whole, Path::new("/proc/version")), Presence::Other);
        let here = tempfile::tempdir_in("/var/tmp").expect("a directory");
        symlink("nowhere", here.path().join("dangling")).expect("a link");
        for name in ["gone", "gone/deeper", "dangling"] {
            let seen = look(&whole, &here.path().join(name));
            // If tests run in a container, it is unknown whether this is the machine's.
            assert!(matches!(seen, Presence::Missing | Presence::Unknown), "{name}: {seen:?}");
        }
    }
}
