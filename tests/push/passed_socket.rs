//! The program itself with the socket of systemd: `push.address = "fd:3"`, and SIGHUP.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::certificates::{Authority, Flaw};
use crate::fixture::LIMIT;

const RULE: &str = "[[push.allow]]\nclient = \"uri:pilotfish://push/owner\"\n\
                    deployments = [\"*\"]\nacts = [\"*\"]\n";

fn configure(path: &Path, rules: &str) {
    let at = path.display();
    let text = format!(
        "state_dir = \"{at}/state\"\ndocker_host = \"unix://{at}/no-engine.sock\"\n\
         [listen]\naddress = \"\"\n[push]\naddress = \"fd:3\"\ncert_file = \"{at}/server.crt\"\n\
         key_file = \"{at}/server.key\"\nclient_ca_file = \"{at}/ca.crt\"\n{rules}"
    );
    fs::write(path.join("pilotfish.toml"), text).expect("a file");
}

/// The agent, with this socket as its third descriptor.
fn start(path: &Path, socket: TcpListener) -> Child {
    let script = "exec 3<&0 < /dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut agent = Command::new("sh");
    agent.args(["-c", script, env!("CARGO_BIN_EXE_pilotfish"), "run", "--config"]);
    agent.arg(path.join("pilotfish.toml")).stdin(Stdio::from(OwnedFd::from(socket)));
    agent.stderr(fs::File::create(path.join("log")).expect("a file"));
    agent.kill_on_drop(true).spawn().expect("the agent")
}

/// The status for this client; waits until the server answers at all.
async fn status(path: &Path, port: u16) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "40", "--retry", "20", "--retry-all-errors"]);
    curl.args(["-o", "/dev/null", "-w", "%{http_code}", "--cacert"]).arg(path.join("ca.crt"));
    curl.arg("--cert").arg(path.join("owner.crt")).arg("--key").arg(path.join("owner.key"));
    curl.arg(format!("https://127.0.0.1:{port}/v1/nothing-here/load"));
    let output = tokio::time::timeout(LIMIT, curl.output()).await.expect("in time").expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn wait_for_log(path: &Path, words: &str) {
    let until = async {
        while !fs::read_to_string(path.join("log")).unwrap_or_default().contains(words) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, until).await;
    in_time
        .unwrap_or_else(|_| panic!("{}", fs::read_to_string(path.join("log")).unwrap_or_default()));
}

#[tokio::test]
async fn the_socket_of_systemd_is_served_also_after_a_reload() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let authority = Authority::new("the authority");
    authority.write(path, "ca");
    authority.server(path, "server");
    authority.client(path, "owner", 1, Flaw::None);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    configure(path, "");
    let agent = start(path, socket);
    wait_for_log(path, "listening for pushes").await;
    // `GET` is no method of a load: the path is known before the rules are.
    assert_eq!(status(path, port).await, "405");
    configure(path, RULE);
    let pid = i32::try_from(agent.id().expect("it runs")).expect("a PID");
    kill_process(Pid::from_raw(pid).expect("a PID"), Signal::HUP).expect("a signal");
    wait_for_log(path, "using the new configuration").await;
    assert_eq!(status(path, port).await, "405");
}

#[tokio::test]
async fn an_agent_without_such_a_socket_says_how_to_start_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let authority = Authority::new("the authority");
    authority.write(path, "ca");
    authority.server(path, "server");
    configure(path, "");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_pilotfish"));
    agent.args(["run", "--config"]).arg(path.join("pilotfish.toml")).stdin(Stdio::null());
    let output = tokio::time::timeout(LIMIT, agent.output()).await.expect("in time").expect("it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("start pilotfish by its .socket unit"), "{said}");
}
