//! An unusable Engine, state directory or address: the error says what to do, and nothing is
//! changed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::thread;

use crate::fixture::Fixture;
use crate::golden;

/// Answers every connection at the Engine's socket with this text, until the test ends.
fn serve_fixed_answer(fixture: &Fixture, answer: &'static str) {
    let listener = UnixListener::bind(fixture.path("docker.sock")).expect("the socket");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // The request is read first, because closing with unread data would be a reset.
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
fn run(fixture: &Fixture, words: &str) -> String {
    fixture.run_without_changes(words, &mut fixture.command(words))
}

#[test]
fn a_missing_socket() {
    let fixture = Fixture::new("");
    golden::compare("engine-missing", &(run(&fixture, "check") + &run(&fixture, "check --json")));
}

#[test]
fn a_socket_without_a_server_or_without_permission() {
    let fixture = Fixture::new("");
    drop(UnixListener::bind(fixture.path("docker.sock")).expect("the socket"));
    let mut page = run(&fixture, "check");
    fs::remove_file(fixture.path("docker.sock")).expect("the socket goes");
    serve_fixed_answer(&fixture, "");
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(fixture.path("docker.sock"), closed).expect("the socket's mode");
    let mut command = fixture.command_as_nobody("check");
    page.push_str(&fixture.run_without_changes("check", &mut command));
    golden::compare("engine-closed", &page);
}

#[test]
fn a_socket_of_another_program() {
    let mut page = String::new();
    for answer in [
        http("200 OK", "text/html", "<html>Welcome to the printer</html>"),
        http("404 Not Found", "text/html", "<html>no such page</html>"),
        http("200 OK", "application/json", "{\"name\": \"printer\"}"),
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
    ] {
        let fixture = Fixture::new("");
        serve_fixed_answer(&fixture, answer);
        let first = answer.lines().next().unwrap_or("(closes the connection)");
        page.push_str(&format!("{first}\n{}\n", run(&fixture, "check")));
    }
    golden::compare("engine-strange", &page);
}

/// A state directory as an agent leaves it.
fn create_used_state(fixture: &Fixture) {
    let state = fixture.path("state");
    fs::DirBuilder::new().mode(0o700).recursive(true).create(state.join("journal")).expect("state");
    fs::write(state.join("layout"), "1").expect("layout");
    fs::write(state.join("lock"), "1\n").expect("lock");
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let fixture = Fixture::new("");
    let mut command = fixture.command_as_nobody("update");
    let mut page = fixture.run_without_changes("update", &mut command);
    create_used_state(&fixture);
    for words in ["update", "check", "status", "history"] {
        let mut command = fixture.command_as_nobody(words);
        page.push_str(&fixture.run_without_changes(words, &mut command));
    }
    let file = Fixture::new("");
    fs::write(file.path("state"), "a file").expect("a file");
    page.push_str(&run(&file, "update"));
    golden::compare("state-unwritable", &page);
}

#[test]
fn a_state_directory_in_use_names_its_holder() {
    let fixture = Fixture::new("");
    create_used_state(&fixture);
    let lock = File::options().write(true).open(fixture.path("state/lock")).expect("lock");
    lock.try_lock().expect("the lock");
    let mut page = String::new();
    for words in ["run", "update", "rollback web", "allow web", "recover"] {
        page.push_str(&run(&fixture, words));
    }
    golden::compare("state-in-use", &page);
}

#[test]
fn a_state_directory_from_a_newer_version() {
    let fixture = Fixture::new("");
    create_used_state(&fixture);
    fs::write(fixture.path("state/layout"), "2").expect("layout");
    let mut page = String::new();
    for words in ["run", "check", "update", "history", "recover"] {
        page.push_str(&run(&fixture, words));
    }
    golden::compare("state-newer", &page);
}

#[test]
fn a_state_directory_with_a_damaged_memory() {
    let fixture = Fixture::new("");
    create_used_state(&fixture);
    serve_fixed_answer(&fixture, "");
    fs::write(fixture.path("state/memory.json"), "{\"refused\": [").expect("memory");
    golden::compare("state-damaged", &run(&fixture, "check"));
}

#[test]
fn a_listen_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let fixture = Fixture::new("").with("PILOTFISH_LISTEN_ADDRESS", &address);
    let page = run(&fixture, "run").replace(&address, "127.0.0.1:PORT");
    let elsewhere = Fixture::new("").with("PILOTFISH_LISTEN_ADDRESS", "192.0.2.1:9788");
    golden::compare("listen-address", &(page + &run(&elsewhere, "run")));
}

#[test]
fn status_and_healthcheck_without_an_agent() {
    let fixture = Fixture::new("");
    let page =
        run(&fixture, "status") + &run(&fixture, "status --json") + &run(&fixture, "healthcheck");
    golden::compare("no-agent", &page);
}
