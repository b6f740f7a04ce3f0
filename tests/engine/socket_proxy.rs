//! Between the agent and the Engine stands HAProxy with deploy/socket-proxy.cfg, which lets just
//! the calls pass that an agent needs.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// Where the proxy listens, in the network of its Pi.
const PORT: u16 = 2375;

/// Longer than HAProxy takes to start.
const SOON: Duration = Duration::from_secs(30);

/// A HAProxy before the Engine of a Pi; ended when dropped.
struct Proxy {
    process: Child,
    peer: Peer,
}

impl Proxy {
    fn start(pi: &Pi) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/socket-proxy.cfg");
        let mut command = pi.engine.command("haproxy");
        command.arg("-db").arg("-f").arg(file);
        command.env("LISTEN", format!(":{PORT}")).env("DOCKER_SOCKET", pi.engine.socket());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("haproxy");
        let proxy = Self { process, peer: Peer::Tcp(pi.engine.reach(PORT)) };
        wait_until("the proxy answers", SOON, || proxy.status("GET", "/_ping") == 200);
        proxy
    }

    /// What a call is answered with; 0: nobody answers.
    fn status(&self, method: &str, path: &str) -> u16 {
        self.peer.request(method, path, &[], b"").map_or(0, |answer| answer.status)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn the_calls_that_pass_the_socket_proxy_are_enough() {
    let pi = Pi::new();
    let proxy = Proxy::start(&pi);
    let told = |words: &[&str]| {
        let host = format!("--docker-host=tcp://127.0.0.1:{PORT}");
        pi.agent.run(&pi.engine, &[words, &[&host]].concat())
    };
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    told(&["update"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    pi.registry.publish("till", &Release::new("3").with("TILL_EXIT_AFTER", "0s"));
    told(&["update"]).expect_code(3);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    told(&["rollback", "till"]).expect_code(0);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    for (method, path) in [
        ("GET", "/networks"),
        ("GET", "/v1.41/volumes"),
        ("POST", "/v1.41/containers/till/exec"),
        ("POST", "/v1.41/containers/till/kill"),
        ("POST", "/build"),
        ("POST", "/v1.41/images/prune"),
        ("DELETE", "/v1.41/volumes/x"),
        ("GET", "/v1.41/containers/till/export"),
        ("GET", "/v1.41/images/x/../../networks/json"),
    ] {
        assert_eq!(proxy.status(method, path), 403, "{method} {path}");
    }
}

#[test]
fn the_way_to_the_engine_is_never_replaced() {
    let pi = Pi::new();
    let _proxy = Proxy::start(&pi);
    let one = pi.registry.publish("till", &Release::new("1"));
    // It bears the name by which the Engine is reached, as a proxy in a container does.
    let proxy = pi.start("localhost", &one.reference, &WATCHED);
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    let host = format!("--docker-host=tcp://localhost:{PORT}");

    let told = pi.agent.run(&pi.engine, &["update", "--force", &host]).expect_code(0);

    let expected = "localhost is held: cannot_recreate\n    the agent reaches the Engine through";
    assert!(told.out.contains(expected), "{}", told.out);
    assert_eq!(pi.id("localhost"), proxy);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}
