//! Layer 1: the machine: its clock, its boot, its disks, and probes of ports.

mod docker_cli;
mod passed_socket;
mod probe;
mod process;
mod visible_paths;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;

use crate::core::decide::engine_lock::ProcessIdentity;
use crate::core::decide::start_requirements::{Presence, VisibleDirectory};
use crate::core::docker::image_store::{self, ImageStore};

pub use docker_cli::{DockerCliError, record_create};
pub use passed_socket::passed_socket;

/// Longest time to check a path. A network file system whose server is gone never answers.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The machine on which the agent runs.
pub trait Host: Send + Sync + 'static {
    /// The time of day. A Pi has no clock of its own: the time may jump, or start in 1970.
    fn now(&self) -> DateTime<Utc>;

    /// The ID of the boot (`/proc/sys/kernel/random/boot_id`); empty if it cannot be read.
    fn boot_id(&self) -> String;

    /// The ID of the machine, the same after every boot; empty if it cannot be read.
    fn machine_id(&self) -> String;

    /// The name of the machine, for people.
    fn host_name(&self) -> String;

    /// A new unique ID.
    fn random_id(&self) -> String;

    /// This process.
    fn process(&self) -> ProcessIdentity;

    /// Whether a process of this boot still runs; `None` if it is not visible.
    fn lives(&self, process: &ProcessIdentity) -> Option<bool>;

    /// Device and inode of a directory: the same for all processes, different for a copy. Empty if
    /// it cannot be read.
    fn directory_id(&self, path: &Path) -> String;

    /// The ID of the container in which this process runs, if it runs in one.
    fn own_container(&self) -> Option<String>;

    /// Bytes that can still be written below a path; `None` if the path is not visible.
    fn free_bytes(&self, path: &Path) -> Option<u64>;

    /// The same below all of these paths: that of the fullest disk.
    fn least_free_bytes(&self, paths: &[PathBuf]) -> Option<u64> {
        paths.iter().filter_map(|path| self.free_bytes(path)).min()
    }

    /// The directories in which an Engine with the root directory `root` keeps the content of
    /// images. They may be invisible here.
    fn image_directories(&self, store: ImageStore, root: &Path) -> Vec<PathBuf>;

    /// The text of a small file of this machine; `None` if it is not visible, not a file, not text,
    /// or longer than the limit in bytes.
    fn small_text(&self, path: &Path, limit: u64) -> Option<String>;

    /// Flushes the file systems of these paths to disk, or all file systems if one of the paths is
    /// not visible (from inside a container).
    fn flush(&self, paths: &[PathBuf]) -> impl Future<Output = Result<(), std::io::Error>> + Send;

    /// What is at a path of the Engine's machine, seen through a visible directory.
    fn look_at(
        &self,
        window: &VisibleDirectory,
        path: &Path,
    ) -> impl Future<Output = Presence> + Send;

    /// Whether an HTTP GET is answered with a status below 400.
    fn probe_http(
        &self,
        host: &str,
        port: u16,
        path: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether a connection is accepted.
    fn probe_tcp(
        &self,
        host: &str,
        port: u16,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), String>> + Send;
}

/// The host name of the machine, or of the container.
#[must_use]
pub fn name() -> String {
    text_of("/proc/sys/kernel/hostname")
}

/// The real machine.
#[derive(Debug, Clone, Default)]
pub struct RealHost {
    /// Found out once: a process cannot move into another container.
    own_container: OnceLock<Option<String>>,
    /// One check at a time: a check that hangs holds a thread, and no other check runs during it.
    look: Arc<Mutex<()>>,
}

impl Host for RealHost {
    #[expect(clippy::disallowed_methods, reason = "this is where the time of day comes from")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn boot_id(&self) -> String {
        text_of("/proc/sys/kernel/random/boot_id")
    }

    fn machine_id(&self) -> String {
        let id = text_of("/etc/machine-id");
        if id.is_empty() { name() } else { id }
    }

    fn host_name(&self) -> String {
        text_of("/proc/sys/kernel/hostname")
    }

    fn random_id(&self) -> String {
        let id = text_of("/proc/sys/kernel/random/uuid");
        // Without /proc a process is identified by its ID and its start time alone.
        if id.is_empty() {
            format!("{}-{}", std::process::id(), self.now().timestamp())
        } else {
            id
        }
    }

    fn process(&self) -> ProcessIdentity {
        process::own()
    }

    fn lives(&self, process: &ProcessIdentity) -> Option<bool> {
        process::lives(process)
    }

    fn directory_id(&self, path: &Path) -> String {
        let stat = rustix::fs::stat(path);
        stat.map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino)).unwrap_or_default()
    }

    fn own_container(&self) -> Option<String> {
        let find = || container_of(&text_of("/proc/self/mountinfo"));
        self.own_container.get_or_init(find).clone()
    }

    fn small_text(&self, path: &Path, limit: u64) -> Option<String> {
        // Not opened before its kind is known: a FIFO would block.
        let known = std::fs::metadata(path).ok()?;
        if !known.is_file() || known.len() > limit {
            return None;
        }
        let mut text = String::new();
        let file = std::fs::File::open(path).ok()?;
        std::io::Read::read_to_string(&mut std::io::Read::take(file, limit), &mut text).ok()?;
        Some(text)
    }

    fn free_bytes(&self, path: &Path) -> Option<u64> {
        let room = rustix::fs::statvfs(path).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn image_directories(&self, store: ImageStore, root: &Path) -> Vec<PathBuf> {
        let configuration = match store {
            ImageStore::Engine => String::new(),
            _ => text_of("/etc/containerd/config.toml"),
        };
        let containerd_root = image_store::containerd_root(&configuration);
        image_store::directories(store, root, &containerd_root, Path::is_dir)
    }

    async fn flush(&self, paths: &[PathBuf]) -> Result<(), std::io::Error> {
        let paths = paths.to_owned();
        let flush = move || {
            let open = paths.iter().map(std::fs::File::open);
            // It is unknown which of the file systems it would be.
            let Ok(directories) = open.collect::<Result<Vec<_>, _>>() else {
                rustix::fs::sync();
                return Ok(());
            };
            directories.iter().try_for_each(|directory| Ok(rustix::fs::syncfs(directory)?))
        };
        tokio::task::spawn_blocking(flush).await.map_err(std::io::Error::other)?
    }

    async fn look_at(&self, window: &VisibleDirectory, path: &Path) -> Presence {
        let Ok(turn) = Arc::clone(&self.look).try_lock_owned() else { return Presence::Unknown };
        let (window, path) = (window.clone(), path.to_owned());
        let look = tokio::task::spawn_blocking(move || {
            let seen = visible_paths::look(&window, &path);
            drop(turn);
            seen
        });
        let seen = tokio::time::timeout(LOOK_TIMEOUT, look).await;
        seen.ok().and_then(Result::ok).unwrap_or(Presence::Unknown)
    }

    async fn probe_http(
        &self,
        host: &str,
        port: u16,
        path: &str,
        timeout: Duration,
    ) -> Result<(), String> {
        probe::within(timeout, probe::http(host, port, path)).await
    }

    async fn probe_tcp(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String> {
        probe::within(timeout, probe::tcp(host, port)).await
    }
}

/// An Engine mounts `hostname` and `resolv.conf` from a directory named after the container's ID
/// (`…/containers/ID/hostname`). Unlike the control group's name, this is true for every version.
fn container_of(mountinfo: &str) -> Option<String> {
    const ID_LENGTH: usize = 64;
    let is_id =
        |part: &&str| part.len() == ID_LENGTH && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let engine_files = mountinfo
        .lines()
        .filter(|line| line.contains("/etc/hostname") || line.contains("/etc/resolv.conf"));
    engine_files
        .flat_map(|line| line.split_whitespace())
        .find_map(|path| path.split('/').find(is_id))
        .map(str::to_owned)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_shows_in_the_mounts() {
        let id = "4".repeat(64);
        let mountinfo = format!(
            "700 699 0:50 / / rw,relatime - overlay overlay rw\n\
             720 700 254:0 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/vda rw"
        );
        assert_eq!(container_of(&mountinfo), Some(id));
        assert_eq!(container_of("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw"), None);
        assert_eq!(container_of(""), None);
    }

    #[tokio::test]
    async fn a_path_that_is_not_visible_is_flushed_with_everything_else() {
        let host = RealHost::default();
        for paths in
            [vec!["/no/such/directory"], vec!["/", "/no/such/directory"], vec!["/", "/tmp"]]
        {
            let paths: Vec<_> = paths.into_iter().map(PathBuf::from).collect();
            assert!(host.flush(&paths).await.is_ok(), "{paths:?}");
        }
        assert_eq!(host.free_bytes(Path::new("/no/such/directory")), None);
        assert!(host.free_bytes(Path::new("/")).is_some());
    }
}
