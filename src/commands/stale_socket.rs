//! Detects that the mounted Engine socket is out of date.
//!
//! A container that mounts the Engine's socket as a file keeps exactly that file. An Engine that
//! creates its socket itself makes a new one at every start. If containers survive the Engine
//! (`live-restore`), the agent's container then has a socket on which no process will ever listen
//! again, and only a restart of the container mounts the new one. So the agent ends, and its
//! restart policy starts it again. If systemd holds the socket, as with Debian's packages, it stays
//! the same.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app;
use crate::config::{DockerHost, Settings};

/// How often the socket is checked: one question to the kernel, and none to the Engine.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Engine has created a new socket, and this container still has the old one: it ends, to be \
     started again with the new one"
)]
pub struct StaleSocket;

/// Runs this work as long as the socket is usable. When it is not, `stop` asks the work to end.
///
/// # Errors
/// The socket is no longer usable.
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

/// Whether no process can listen on the socket any more. Only a container holds it by something
/// other than its name.
pub fn is_lost(settings: &Settings) -> bool {
    let DockerHost::Unix(path) = &settings.docker_host else { return false };
    app::is_in_container() && is_unlinked(path)
}

/// A file without a name is only visible where it is mounted.
fn is_unlinked(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.nlink() == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_without_a_name_and_a_missing_one_are_distinguished() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("docker.sock");
        assert!(!is_unlinked(&path));
        let file = File::create(&path).expect("a file");
        assert!(!is_unlinked(&path));
        fs::remove_file(&path).expect("its end");
        assert!(!is_unlinked(&path));
        // An open file looks like a mount of it.
        let seen = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert!(is_unlinked(Path::new(&seen)));
    }
}
