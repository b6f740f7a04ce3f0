//! An Engine, a state directory or an address that cannot be used: named, with what to do, and
//! nothing is changed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::thread;

use crate::fixture::Stage;
use crate::golden;

/// Answers every connection at the Engine's socket like this, until the test ends.
fn no_engine(stage: &Stage, answer: &'static str) {
    let listener = UnixListener::bind(stage.path("docker.sock")).expect("the socket");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // The question is read first: closing with it unread would be another kind of end.
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
}

fn http(status: &str, kind: &str, body: &str) -> &'static str {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}");
    format!("{head}\r\nConnection: close\r\n\r\n{body}").leak()
}

#[track_caller]
fn told(stage: &Stage, words: &str) -> String {
    stage.told_without_a_trace(words, &mut stage.command(words))
}

#[test]
fn a_socket_that_is_not_there() {
    let stage = Stage::new("");
    golden::compare("engine-missing", &(told(&stage, "check") + &told(&stage, "check --json")));
}

#[test]
fn a_socket_that_nobody_serves_or_that_may_not_be_opened() {
    let stage = Stage::new("");
    drop(UnixListener::bind(stage.path("docker.sock")).expect("the socket"));
    let mut page = told(&stage, "check");
    fs::remove_file(stage.path("docker.sock")).expect("the socket goes");
    no_engine(&stage, "");
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(stage.path("docker.sock"), closed).expect("the socket's mode");
    let mut command = stage.command_of_nobody("check");
    page.push_str(&stage.told_without_a_trace("check", &mut command));
    golden::compare("engine-closed", &page);
}

#[test]
fn a_socket_that_is_no_engine() {
    let mut page = String::new();
    for answer in [
        http("200 OK", "text/html", "<html>Welcome to the printer</html>"),
        http("404 Not Found", "text/html", "<html>no such page</html>"),
        http("200 OK", "application/json", "{\"name\": \"printer\"}"),
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
    ] {
        let stage = Stage::new("");
        no_engine(&stage, answer);
        let first = answer.lines().next().unwrap_or("(closes the connection)");
        page.push_str(&format!("{first}\n{}\n", told(&stage, "check")));
    }
    golden::compare("engine-strange", &page);
}

/// A state directory as an agent leaves it behind.
fn used_before(stage: &Stage) {
    let state = stage.path("state");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(state.join("journal")).expect("state");
    fs::write(state.join("layout"), "1").expect("layout");
    fs::write(state.join("lock"), "1\n").expect("lock");
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let stage = Stage::new("");
    let mut command = stage.command_of_nobody("update");
    let mut page = stage.told_without_a_trace("update", &mut command);
    used_before(&stage);
    for words in ["update", "check", "status", "history"] {
        let mut command = stage.command_of_nobody(words);
        page.push_str(&stage.told_without_a_trace(words, &mut command));
    }
    let file = Stage::new("");
    fs::write(file.path("state"), "a file").expect("a file");
    page.push_str(&told(&file, "update"));
    golden::compare("state-unwritable", &page);
}

#[test]
fn a_state_directory_in_use_names_its_holder() {
    let stage = Stage::new("");
    used_before(&stage);
    let lock = File::options().write(true).open(stage.path("state/lock")).expect("lock");
    lock.try_lock().expect("the lock");
    let mut page = String::new();
    for words in ["run", "update", "rollback web", "allow web", "recover"] {
        page.push_str(&told(&stage, words));
    }
    golden::compare("state-in-use", &page);
}

#[test]
fn a_state_directory_from_a_newer_version() {
    let stage = Stage::new("");
    used_before(&stage);
    fs::write(stage.path("state/layout"), "2").expect("layout");
    let mut page = String::new();
    for words in ["run", "check", "update", "history", "recover"] {
        page.push_str(&told(&stage, words));
    }
    golden::compare("state-newer", &page);
}

#[test]
fn a_state_directory_with_a_damaged_memory() {
    let stage = Stage::new("");
    used_before(&stage);
    no_engine(&stage, "");
    fs::write(stage.path("state/memory.json"), "{\"refused\": [").expect("memory");
    golden::compare("state-damaged", &told(&stage, "check"));
}

#[test]
fn a_listen_address_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let stage = Stage::new("").with("PILOTFISH_LISTEN_ADDRESS", &address);
    let page = told(&stage, "run").replace(&address, "127.0.0.1:PORT");
    let elsewhere = Stage::new("").with("PILOTFISH_LISTEN_ADDRESS", "192.0.2.1:9788");
    golden::compare("listen-address", &(page + &told(&elsewhere, "run")));
}

#[test]
fn nobody_is_asked_where_no_agent_runs() {
    let stage = Stage::new("");
    let page =
        told(&stage, "status") + &told(&stage, "status --json") + &told(&stage, "healthcheck");
    golden::compare("no-agent", &page);
}
