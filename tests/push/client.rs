//! `pilotfish push`, the program itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use pilotfish::core::deployment::refusal::RefusalWord;
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::update::history::Outcome;
use serde_json::json;
use tokio::process::Command;

use crate::fixture::{Answer, LIMIT, Served};

/// The size of a layer of the test in bytes.
const LAYER: usize = 400_000;

/// `docker save` of an image with two layers, and the diff IDs of the layers.
fn save(directory: &Path) -> (PathBuf, Vec<Digest>) {
    let files = directory.join("save");
    fs::create_dir_all(&files).expect("a directory");
    let mut ids = Vec::new();
    for (name, byte) in [("base.tar", 1_u8), ("app.tar", 2)] {
        let content = vec![byte; LAYER];
        ids.push(Digest::of(&content));
        fs::write(files.join(name), content).expect("a file");
    }
    let config = json!({"rootfs": {"type": "layers", "diff_ids": ids}});
    fs::write(files.join("config.json"), config.to_string()).expect("a file");
    let manifest = json!([{
        "Config": "config.json", "RepoTags": ["till:latest"], "Layers": ["base.tar", "app.tar"],
    }]);
    fs::write(files.join("manifest.json"), manifest.to_string()).expect("a file");
    let archive = directory.join("save.tar");
    let tar = std::process::Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(&files)
        .args(["config.json", "base.tar", "app.tar", "manifest.json"])
        .status();
    assert!(tar.expect("tar").success());
    (archive, ids)
}

/// The directory that a client has from `pki`.
fn certificates(served: &Served, client: &str) -> PathBuf {
    let directory = served.path().join(format!("{client}-certificates"));
    fs::create_dir_all(&directory).expect("a directory");
    for (from, to) in [
        ("ca.crt".to_owned(), "ca.crt"),
        (format!("{client}.crt"), "client.crt"),
        (format!("{client}.key"), "client.key"),
    ] {
        fs::copy(served.path().join(from), directory.join(to)).expect("a file");
    }
    directory
}

struct Said {
    code: Option<i32>,
    output: String,
    error: String,
}

async fn push(served: &Served, client: &str, archive: &str, flags: &[&str], input: Stdio) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    command.args(["push", "till", archive, "--to"]).arg(served.url(""));
    command.arg("--certificates").arg(certificates(served, client));
    command.args(flags).env("TMPDIR", served.path()).stdin(input).kill_on_drop(true);
    said(command).await
}

async fn said(mut command: Command) -> Said {
    let output: Output =
        tokio::time::timeout(LIMIT, command.output()).await.expect("it ends").expect("it runs");
    Said {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn only_the_layers_that_the_device_lacks_are_sent() {
    let served = Served::new().await;
    let (archive, ids) = save(served.path());
    let whole = fs::metadata(&archive).expect("a file").len();
    *served.layers.lock().expect("a lock") = ids[..1].to_vec();
    let gzip = std::process::Command::new("gzip").arg("-k").arg(&archive).status();
    assert!(gzip.expect("gzip").success());
    let compressed = archive.with_extension("tar.gz");
    let archive_input = || Stdio::from(fs::File::open(&archive).expect("a file"));
    for (name, input) in [
        (text(&archive), Stdio::null()),
        ("-".to_owned(), archive_input()),
        (text(&compressed), Stdio::null()),
    ] {
        let said = push(&served, "till", &name, &[], input).await;
        assert_eq!(said.code, Some(0), "{name}: {} {}", said.output, said.error);
        assert!(said.output.contains("1 of 2 layers are on the device"), "{}", said.output);
        assert!(said.output.contains("1 updated"), "{}", said.output);
        let received = served.received.lock().expect("a lock").pop().expect("a load");
        assert!(received.is_whole);
        assert_eq!(received.size, Some(received.bytes));
        assert!(received.bytes + LAYER as u64 <= whole, "{} of {whole}", received.bytes);
    }
    let left: Vec<_> = fs::read_dir(served.path()).expect("a directory").flatten().collect();
    let spooled = left.iter().any(|it| it.file_name().to_string_lossy().contains("pilotfish-push"));
    assert!(!spooled, "no temporary file stays");
    // All of it, by the option or because the device has nothing.
    let said = push(&served, "till", "-", &["--whole", "--force"], archive_input()).await;
    assert_eq!(said.code, Some(0), "{}", said.error);
    let received = served.received.lock().expect("a lock").pop().expect("a load");
    assert_eq!((received.bytes, received.size, received.force), (whole, None, true));
    served.layers.lock().expect("a lock").clear();
    let said = push(&served, "till", "-", &[], archive_input()).await;
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(served.received.lock().expect("a lock").pop().expect("a load").bytes, whole);
}

#[tokio::test]
async fn everything_is_sent_if_the_device_lacks_a_layer_after_all() {
    let served = Served::new().await;
    let (archive, ids) = save(served.path());
    let whole = fs::metadata(&archive).expect("a file").len();
    *served.layers.lock().expect("a lock") = ids;
    served.answers(Answer::LacksLayers(whole));
    let input = Stdio::from(fs::File::open(&archive).expect("a file"));
    let said = push(&served, "till", "-", &[], input).await;
    assert_eq!(said.code, Some(0), "{} {}", said.output, said.error);
    assert!(said.output.contains("2 of 2 layers") && said.output.contains("everything is sent"));
    let received = served.received.lock().expect("a lock");
    let sizes: Vec<_> = received.iter().map(|it| it.bytes).collect();
    assert!(sizes.len() == 2 && sizes[0] < whole && sizes[1] == whole, "{sizes:?} {whole}");
}

#[tokio::test]
async fn the_exit_code_says_how_it_ended() {
    let served = Served::new().await;
    let (archive, _) = save(served.path());
    let archive = text(&archive);
    for (answer, code, words) in [
        (Answer::Takes(Outcome::Updated), 0, "1 updated"),
        (Answer::Takes(Outcome::RolledBack), 3, "1 rolled back"),
        (Answer::Takes(Outcome::Stuck), 1, "1 stuck"),
        (Answer::RefusesAtOnce(RefusalWord::UpdateInFlight), 1, "update_in_flight"),
        (Answer::RefusesAtOnce(RefusalWord::Busy), 1, "busy"),
        (Answer::RefusesAfter(100_000, RefusalWord::DiskFull), 1, "disk_full"),
    ] {
        served.answers(answer.clone());
        let said = push(&served, "till", &archive, &[], Stdio::null()).await;
        assert_eq!(said.code, Some(code), "{answer:?}: {} {}", said.output, said.error);
        let all = format!("{}{}", said.output, said.error);
        assert!(all.contains(words), "{answer:?}: {all}");
    }
}

#[tokio::test]
async fn a_client_that_is_not_let_in_is_told_why() {
    let served = Served::new().await;
    served.authority.revoke(served.path(), &[4], 2999);
    let (archive, _) = save(served.path());
    let archive = text(&archive);
    for (client, words) in [("unknown", "no [[push.allow]] lets"), ("revoked", "it is revoked")] {
        let said = push(&served, client, &archive, &[], Stdio::null()).await;
        assert_eq!(said.code, Some(1), "{client}");
        assert!(said.error.contains(words), "{client}: {}", said.error);
    }
    let said = push(&served, "till", "/nowhere.tar", &[], Stdio::null()).await;
    assert!(said.code == Some(1) && said.error.contains("/nowhere.tar"), "{}", said.error);
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    wrong.args(["push", "till", &archive, "--to", "http://pi", "--certificates", "."]);
    let said = crate::client::said(wrong).await;
    assert_eq!(said.code, Some(2), "{}", said.error);
    assert!(said.error.contains("https://pi:9790"), "{}", said.error);
    let mut away = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    away.args(["push", "till", &archive, "--to", "https://127.0.0.1:1", "--certificates"]);
    away.arg(certificates(&served, "till"));
    let said = crate::client::said(away).await;
    assert!(said.code == Some(1) && said.error.contains("refused"), "{}", said.error);
}
