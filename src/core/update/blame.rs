//! Whose fault it is when the Engine cannot start a container.

/// What the Engine (runc, crun, containerd) writes when the image itself cannot be run. Everything
/// else, such as a port that is taken or a network that is gone, is the surroundings' fault.
const IMAGE_FAULTS: [&str; 7] = [
    "exec format error",
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "not a directory",
    "no command specified",
    "unable to find user",
];

/// What the Engine writes when something outside of the image is in the way, whatever else the
/// message says.
const SURROUNDING_FAULTS: [&str; 5] = [
    "port is already allocated",
    "address already in use",
    "network",
    "no space left on device",
    "mount",
];

/// Whether a refusal to start blames the image, which is then refused.
#[must_use]
pub fn is_the_images_fault(message: &str) -> bool {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    says(&IMAGE_FAULTS) && !says(&SURROUNDING_FAULTS)
}

/// What a program, its loader or the kernel writes when a file of the image has lost its content.
const DAMAGE: [&str; 5] = [
    "exec format error",
    "no such file or directory",
    "not found",
    "file too short",
    "invalid elf header",
];

/// Said of a copy that is removed and pulled afresh.
pub const PULLED_AGAIN: &str =
    "the image was on this machine before and may be damaged: it is pulled again";

/// Whether the last words of a container are those of a damaged copy of its image. A power cut
/// leaves an image that was pulled shortly before with empty files: newer versions of runc start it
/// all the same, and it ends at once. A bad release may say the same; its next copy is fresh.
#[must_use]
pub fn is_a_damaged_copy(log: &str) -> bool {
    let log = log.to_lowercase();
    DAMAGE.iter().any(|word| log.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_real_engines_are_told_apart() {
        let image = [
            r#"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/app": stat /app: no such file or directory: unknown"#,
            r#"OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "sh": executable file not found in $PATH: unknown"#,
            "exec /till: exec format error",
            "unable to find user web: no matching entries in passwd file",
        ];
        for message in image {
            assert!(is_the_images_fault(message), "{message}");
        }
        let surroundings = [
            "driver failed programming external connectivity on endpoint till: Bind for 0.0.0.0:8080 failed: port is already allocated",
            "network shop not found",
            "error while mounting volume '/var/lib/docker/volumes/x': no such file or directory",
            "error creating overlay mount to /var/lib/docker/overlay2/x/merged: no such file or directory",
            "write /run/x: no space left on device",
        ];
        for message in surroundings {
            assert!(!is_the_images_fault(message), "{message}");
        }
    }
    #[test]
    fn the_last_words_of_a_damaged_copy_are_known() {
        for words in [
            "exec /till: exec format error",
            "/bin/app: error while loading shared libraries: libc.so.6: file too short",
            "exec /usr/bin/app: no such file or directory",
        ] {
            assert!(is_a_damaged_copy(words), "{words}");
        }
        assert!(!is_a_damaged_copy("the cash drawer is missing"));
    }
}
