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
}
