//! Floor 1: what the machine itself is asked: its clock, its boot, its disks, and whether
//! something answers on a port.

mod probe;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// The machine on which the agent runs.
pub trait Host: Send + Sync + 'static {
    /// The time of day. A Pi has no clock of its own: it may jump, or start in 1970.
    fn now(&self) -> DateTime<Utc>;

    /// Identifies the boot (`/proc/sys/kernel/random/boot_id`); empty where it cannot be read.
    fn boot_id(&self) -> String;

    /// Identifies the machine, the same after every boot; empty where it cannot be read.
    fn machine_id(&self) -> String;

    /// The ID of the container in which this process runs, if it runs in one.
    fn own_container(&self) -> Option<String>;

    /// Bytes that may still be written below a path; `None` where the path is not visible.
    fn free_bytes(&self, path: &Path) -> Option<u64>;

    /// Writes everything that the system still holds back for the file system below this path, or
    /// for all of them where the path is not visible (from inside a container).
    fn flush(&self, path: &Path) -> impl Future<Output = Result<(), std::io::Error>> + Send;

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

/// What the machine calls itself; in a container, what that is called.
#[must_use]
pub fn name() -> String {
    text_of("/proc/sys/kernel/hostname")
}

/// The machine itself.
#[derive(Debug, Clone, Default)]
pub struct RealHost {
    /// Found out at the first question: nothing moves a process into another container.
    own_container: OnceLock<Option<String>>,
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

    fn own_container(&self) -> Option<String> {
        let find = || container_of(&text_of("/proc/self/mountinfo"));
        self.own_container.get_or_init(find).clone()
    }

    fn free_bytes(&self, path: &Path) -> Option<u64> {
        let room = rustix::fs::statvfs(path).ok()?;
        Some(room.f_bavail.saturating_mul(room.f_frsize))
    }

    async fn flush(&self, path: &Path) -> Result<(), std::io::Error> {
        let path = path.to_owned();
        let flush = move || match std::fs::File::open(&path) {
            Ok(directory) => rustix::fs::syncfs(&directory).map_err(std::io::Error::from),
            Err(_) => {
                rustix::fs::sync();
                Ok(())
            }
        };
        tokio::task::spawn_blocking(flush).await.map_err(std::io::Error::other)?
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

/// An Engine mounts `hostname` and `resolv.conf` from a directory that bears the container's ID
/// (`…/containers/ID/hostname`). Unlike the control group's name, this holds for every version.
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
        let flushed = host.flush(Path::new("/no/such/directory")).await;
        assert!(flushed.is_ok());
        assert_eq!(host.free_bytes(Path::new("/no/such/directory")), None);
        assert!(host.free_bytes(Path::new("/")).is_some());
    }
}
