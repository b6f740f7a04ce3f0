//! `pilotfish bridge`: from a webhook to the running container.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::member::{Member, Operator, SOON};
use crate::support::broker::Mosquitto;
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::Release;

const SECRET: &str = "a secret of more than sixteen bytes";

/// A bridge on the machine of the test.
struct Bridge {
    directory: tempfile::TempDir,
    child: Child,
    webhook: Peer,
    pages: Peer,
}

impl Bridge {
    fn start(broker: &Mosquitto) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| broker.file_of("bridge", name).display().to_string();
        let secret = directory.path().join("secret");
        fs::write(&secret, SECRET).expect("a file");
        Command::new("chmod").arg("600").arg(&secret).status().expect("chmod");
        let [webhook, pages] = [free_port(), free_port()];
        let configuration = format!(
            "[listen]\naddress = \"127.0.0.1:{pages}\"\n[webhook]\naddress = \"127.0.0.1:{webhook}\"\n\
             token_file = {secret:?}\n[mqtt]\nurl = \"mqtts://{}\"\nca_file = {:?}\ncert_file = {:?}\n\
             key_file = {:?}\n",
            broker.address(),
            file("ca.crt"),
            file("client.crt"),
            file("client.key"),
        );
        let path = directory.path().join("bridge.toml");
        fs::write(&path, configuration).expect("a file");
        let log = File::create(directory.path().join("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_pilotfish"))
            .arg("--config")
            .arg(path)
            .arg("bridge")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the bridge");
        let peer = |port| Peer::Tcp(([127, 0, 0, 1], port).into());
        Self { directory, child, webhook: peer(webhook), pages: peer(pages) }
    }

    fn wait_until_ready(&self, is_ready: bool) {
        let expected = if is_ready { 200 } else { 503 };
        wait_until("the bridge says whether it is ready", SOON, || {
            self.pages.get("/readyz").is_ok_and(|answer| answer.status == expected)
        });
    }

    fn push(&self, body: &serde_json::Value) -> (u16, String) {
        let bearer = format!("Bearer {SECRET}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let body = body.to_string();
        let answer = self.webhook.request("POST", "/v1/webhook", &headers, body.as_bytes());
        let answer = answer.expect("an answer");
        (answer.status, answer.text())
    }

    fn log(&self) -> String {
        let path: PathBuf = self.directory.path().join("log");
        fs::read_to_string(path).unwrap_or_default()
    }

    fn terminate(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("to signal the bridge");
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the bridge's log:\n{}", self.log());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn a_webhook_runs_on_the_device_a_moment_later() {
    let mut broker = None;
    let names = ["till-1", "operator", "bridge"];
    let mut member = Member::new("till-1", &mut broker, &names, "");
    let mut broker = broker.expect("a broker");
    member.start();
    let mut operator = Operator::new(&broker);
    let mut bridge = Bridge::start(&broker);
    bridge.wait_until_ready(true);
    let two = member.pi.registry.publish("till", &Release::new("2"));
    let (before, begun) = (member.heads(), Instant::now());

    let pushed = json!({"v": 1, "pushed": [{"ref": two.reference, "digest": two.digest}]});
    let (status, words) = bridge.push(&pushed);
    assert_eq!((status, words.as_str()), (202, ""));

    wait_until("the registry is asked", SOON, || member.heads() > before);
    eprintln!("from the webhook to HEAD: {} ms", begun.elapsed().as_millis());
    operator.wait("device/till-1/container/till", |it| {
        it["busy"] == false && it["running"] == two.digest.as_str()
    });
    member.pi.assert_settled("till", &two, 1);

    // Nothing that could be announced, the wrong secret, and a broker that is away.
    let unreadable = bridge.push(&json!({"v": 1, "pushed": []}));
    assert_eq!(unreadable.0, 400, "{}", unreadable.1);
    let denied = bridge.webhook.request("POST", "/v1/webhook", &[], b"{}").expect("an answer");
    assert_eq!(denied.status, 401);
    broker.kill();
    bridge.wait_until_ready(false);
    let (status, words) = bridge.push(&pushed);
    assert_eq!(status, 503, "{words}");
    assert!(words.contains("no connection to the broker"), "{words}");
    broker.start_again();
    bridge.wait_until_ready(true);
    assert_eq!(bridge.push(&pushed).0, 202);
    assert_eq!(bridge.terminate(), Some(0));
    assert!(!bridge.log().contains(SECRET), "{}", bridge.log());
}
