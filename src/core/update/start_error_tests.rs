//! Messages of real Engines, and what they blame.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::*;

/// What an Engine said when a start was made to fail, and what a container wrote last.
#[derive(Deserialize)]
struct Collection {
    messages: Vec<Message>,
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Message {
    case: String,
    message: String,
    blame: String,
}

#[derive(Deserialize)]
struct Log {
    case: String,
    log: String,
    is_damage: bool,
}

fn collections() -> Vec<(String, Collection)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/start-errors");
    let files = fs::read_dir(directory).expect("the fixtures are there");
    let read = |file: fs::DirEntry| {
        let text = fs::read_to_string(file.path()).expect("a fixture");
        let name = file.file_name().to_string_lossy().into_owned();
        (name, serde_json::from_str(&text).expect("JSON as it is expected"))
    };
    files.map(|file| read(file.expect("a file"))).collect()
}

fn word(blame: Blame) -> &'static str {
    match blame {
        Blame::Image => "image",
        Blame::Surroundings => "surroundings",
        Blame::Unknown => "unknown",
    }
}

#[test]
fn the_message_of_every_engine_shows_the_fault() {
    let mut wrong = Vec::new();
    for (engine, collection) in collections() {
        for Message { case, message, blame } in collection.messages {
            let got = word(of(&message));
            if got != blame {
                wrong.push(format!("{engine}, {case}: {got} instead of {blame}: {message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_last_words_of_a_damaged_copy_are_known_on_every_engine() {
    for (engine, collection) in collections() {
        for Log { case, log, is_damage } in collection.logs {
            assert_eq!(is_damaged_copy(&log), is_damage, "{engine}, {case}: {log}");
        }
    }
}

#[test]
fn the_words_in_a_name_decide_nothing() {
    let missing = r#"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "X": stat X: no such file or directory: unknown"#;
    for program in [
        "/usr/bin/s3-mounter",
        "/opt/network",
        "/no space left on device",
        "/address already in use",
        "/srv/sysctl: it's",
    ] {
        assert_eq!(of(&missing.replace('X', program)), Blame::Image, "{program}");
    }
    let quoted = r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "/a\"b mount": stat /a"b mount: no such file or directory: unknown"#;
    assert_eq!(of(quoted), Blame::Image);
    let device = r#"error gathering device information while adding custom device "X": no such file or directory"#;
    let mount = "invalid mount config for type \"bind\": bind source path does not exist: X";
    let making = "error while creating mount source path 'X': mkdir X: permission denied";
    let network = "network X not found";
    for name in [
        "/dev/exec format error",
        "/dev/unable to start container process: exec: \"/app\": permission denied",
        "/srv/executable file not found in $PATH",
        "/no command specified",
        "unable to find user web: no matching entries in passwd file",
    ] {
        for message in [device, mount, making, network] {
            let message = message.replace('X', name);
            assert_ne!(of(&message), Blame::Image, "{message}");
        }
    }
}

#[test]
fn a_program_that_the_machine_lacks_is_not_the_images() {
    for message in [
        r#"exec: "docker-init": executable file not found in $PATH"#,
        r#"failed to create shim task: OCI runtime create failed: unable to retrieve OCI runtime error (open /run/log.json: no such file or directory): exec: "nvidia-container-runtime": executable file not found in $PATH: unknown"#,
        r#"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error running prestart hook #0: exec: "/usr/bin/nvidia-hook": no such file or directory: unknown"#,
        r#"failed to start shim: exec: "containerd-shim-runc-v2": executable file not found in $PATH: unknown"#,
    ] {
        assert_ne!(of(message), Blame::Image, "{message}");
    }
}

#[test]
fn an_unknown_message_never_blames_the_image() {
    for message in [
        "",
        "something else",
        "exec format error",
        "no such file or directory",
        "permission denied",
        r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "/app": operation not permitted: unknown"#,
        r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "/app": input/output error: unknown"#,
        r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "/app": permission denied by a guard of tomorrow"#,
    ] {
        assert_eq!(of(message), Blame::Unknown, "{message}");
    }
}

#[test]
fn older_versions_of_runc_are_understood() {
    let message = r#"OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "sh": executable file not found in $PATH: unknown"#;
    assert_eq!(of(message), Blame::Image);
    assert!(is_damaged_copy(
        "standard_init_linux.go:228: exec user process caused: exec format error"
    ));
}

#[test]
fn what_stands_below_a_mount_of_the_container_is_not_the_images() {
    let container = |destination: &str| {
        json!({
            "Path": "/srv/app/run",
            "Config": { "WorkingDir": "/work" },
            "Mounts": [{ "Type": "bind", "Source": "/x", "Destination": destination }],
        })
    };
    let exec = r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "/srv/app/run": permission denied: unknown"#;
    for (destination, blame) in [
        ("/srv/app/run", Blame::Unknown),
        ("/srv/app", Blame::Unknown),
        ("/srv/app/", Blame::Unknown),
        ("/srv/ap", Blame::Image),
        ("/srv/app/run/more", Blame::Image),
        ("/data", Blame::Image),
    ] {
        assert_eq!(of_container(exec, &container(destination)), blame, "{destination}");
    }
    let crun = "crun: open executable: Permission denied: OCI permission denied";
    assert_eq!(of_container(crun, &container("/srv")), Blame::Unknown);
    let user = "unable to find user web: no matching entries in passwd file";
    assert_eq!(of_container(user, &container("/etc/passwd")), Blame::Unknown);
    assert_eq!(of_container(user, &container("/srv")), Blame::Image);
    let directory = r#"OCI runtime create failed: runc create failed: unable to start container process: error during container init: chdir to cwd ("/work") set in config.json failed: permission denied: unknown"#;
    assert_eq!(of_container(directory, &container("/work")), Blame::Unknown);
    assert_eq!(of_container(directory, &container("/srv")), Blame::Image);
}

#[test]
fn only_messages_of_program_starters_show_a_damaged_copy() {
    for words in [
        "exec /till: exec format error",
        "exec /usr/bin/app: no such file or directory",
        "exec /app: input/output error",
        "[FATAL tini (7)] exec /app failed: Exec format error",
        r#"{"msg":"exec container process `/app`: Exec format error","level":"error"}"#,
        "/bin/app: error while loading shared libraries: libc.so.6: file too short",
        "/bin/app: error while loading shared libraries: /lib/libz.so.1: invalid ELF header",
        "Error loading shared library libz.so.1: Exec format error (needed by /app)",
        "starting\nexec /till: exec format error\n",
    ] {
        assert!(is_damaged_copy(words), "{words}");
    }
    for words in [
        "",
        "the cash drawer is missing",
        "config.yaml not found",
        "open /etc/app/config.yaml: no such file or directory",
        "Error: Cannot find module '/app/index.js': file not found",
        "FileNotFoundError: [Errno 2] No such file or directory: '/data/x'",
        "/entrypoint.sh: line 3: certbot: not found",
        "host db not found",
        "plugin says: error while loading shared libraries: nothing",
        "will exec /app: exec format error is what I fear",
        "exec /app: permission denied",
    ] {
        assert!(!is_damaged_copy(words), "{words}");
    }
}
