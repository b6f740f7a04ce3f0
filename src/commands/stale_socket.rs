//! A container that was given the Engine's socket as a file has that very file, and no other.
//!
//! An Engine that listens at its socket itself makes a new one whenever it starts. Where containers
//! outlive it (`live-restore`), the agent's then holds one at which nobody will ever listen again,
//! and only a start of the container mounts the new one. So the agent ends, and its restart policy
//! does that. Where systemd holds the socket, as with Debian's packages, it stays the same.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::{DockerHost, Settings};

/// How often the socket is looked at: one question to the kernel, and none to the Engine.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Engine has made a new socket, and this container still has the one before: it ends, to be \
     started again with the new one"
)]
pub struct StaleSocket;

/// Does this work for as long as the socket is one at which somebody may listen. Once it is not,
/// the work is asked by `stop` to end.
///
/// # Errors
/// That is so.
pub async fn exit_with_socket<T>(
    settings: &Settings,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, StaleSocket> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return Ok(done),
        () = lost(settings) => stop.cancel(),
    }
    work.await;
    Err(StaleSocket)
}

async fn lost(settings: &Settings) {
    while !is_lost(settings) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether the socket is one at which nobody listens any more. Only in a container is it held by
/// anything but its name.
pub fn is_lost(settings: &Settings) -> bool {
    let DockerHost::Unix(path) = &settings.docker_host else { return false };
    app::is_in_container() && is_unlinked(path)
}

/// A file without any name is still seen where it is mounted, and only there.
fn is_unlinked(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_without_a_name_is_told_from_one_that_is_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("docker.sock");
        assert!(!is_unlinked(&path));
        let file = File::create(&path).expect("a file");
        assert!(!is_unlinked(&path));
        fs::remove_file(&path).expect("its end");
        assert!(!is_unlinked(&path));
        // What is still open is seen as a mount of it would be.
        let seen = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert!(is_unlinked(Path::new(&seen)));
    }
}
