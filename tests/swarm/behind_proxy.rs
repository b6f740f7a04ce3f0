//! HAProxy with deploy/socket-proxy.cfg between the agent and a manager.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::tables::Tables;

const SETTINGS: &str = "every = \"1000h\"\n[health]\nstable = \"4s\"\ntimeout = \"12s\"";

/// The port of the proxy on the manager.
const PORT: u16 = 2375;

/// Longer than HAProxy takes to start.
const SOON: Duration = Duration::from_secs(30);

/// Calls for a Swarm that an agent never makes.
const NEVER: [(&str, &str); 10] = [
    ("GET", "/swarm"),
    ("POST", "/swarm/leave"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("GET", "/configs"),
    ("GET", "/nodes/x"),
    ("POST", "/nodes/x/update"),
    ("DELETE", "/nodes/x"),
    ("GET", "/tasks/x"),
    ("GET", "/services/x/logs"),
];

/// A HAProxy; ended when dropped.
struct Proxy(Child);

impl Proxy {
    /// Starts it on a socket or port of the manager.
    fn start(manager: &Engine, listen: &str, services: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/socket-proxy.cfg");
        let mut command = manager.command("haproxy");
        command.arg("-db").arg("-f").arg(file).env("SERVICES", services);
        command.env("LISTEN", listen).env("DOCKER_SOCKET", manager.socket());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("haproxy"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[ignore = "takes long: make test-swarm"]
#[test]
fn an_agent_behind_the_proxy_of_a_manager_updates_a_service() {
    let tables = Tables::with(&Release::new("1"), true);
    let manager = &tables.swarm.manager;
    // A socket, as in deploy/stack.yaml.
    let socket = manager.directory().join("proxy.sock");
    let _proxy = Proxy::start(manager, &socket.display().to_string(), "1");
    let peer = Peer::Unix(socket.clone());
    let status = |method: &str, path: &str| {
        peer.request(method, path, &[], b"").map_or(0, |answer| answer.status)
    };
    wait_until("the proxy answers", SOON, || status("GET", "/_ping") == 200);
    let agent = Agent::install(manager, SETTINGS);
    agent.connect_to(&socket);
    tables.publish(&Release::new("2"));

    let update = agent.run(manager, &["update"]);

    assert_eq!(update.status.code(), Some(0), "{update:?}");
    assert!(update.out.contains("1 updated"), "{update:?}");
    tables.wait_until_serving("till 2");
    tables.assert_settled();
    for (method, path) in NEVER {
        assert_eq!(status(method, path), 403, "{method} {path}");
    }
    let _other = Proxy::start(manager, &format!(":{PORT}"), "0");
    let other = Peer::Tcp(manager.address_of(PORT));
    wait_until("the other proxy answers", SOON, || other.get("/_ping").is_ok());
    for path in ["/services", "/tasks", "/nodes"] {
        assert_eq!(other.get(path).map(|answer| answer.status).unwrap_or_default(), 403, "{path}");
    }
}
