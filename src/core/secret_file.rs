//! Allowed modes of a file with a secret.

use std::path::Path;

/// The mode bits that let all users read, write or run a file.
const ALL_USERS: u32 = 0o007;

/// Where Swarm and Compose put secrets, readable by all users inside the container.
const SECRETS: &str = "/run/secrets";

/// Why a file with this mode is not accepted as a secret. Its group may read it, so that a service
/// that does not run as root can get the secret.
#[must_use]
pub fn exposed(path: &Path, mode: u32) -> Option<String> {
    let is_open = mode & ALL_USERS != 0 && !path.starts_with(SECRETS);
    is_open.then(|| {
        let path = path.display();
        format!("{path} can be read by every user of this machine: `chmod o= {path}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_all_users_can_read_is_not_secret() {
        for (path, mode, is_exposed) in [
            ("/etc/token", 0o100_600, false),
            ("/etc/token", 0o100_640, false),
            ("/etc/token", 0o100_644, true),
            ("/etc/token", 0o100_602, true),
            ("/etc/token", 0o100_777, true),
            ("/run/secrets/token", 0o100_444, false),
            ("/run/secrets-of-others/token", 0o100_444, true),
        ] {
            assert_eq!(exposed(Path::new(path), mode).is_some(), is_exposed, "{path} {mode:o}");
        }
        let why = exposed(Path::new("/t"), 0o644).unwrap_or_default();
        assert_eq!(why, "/t can be read by every user of this machine: `chmod o= /t`");
    }
}
