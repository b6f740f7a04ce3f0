//! HAProxy with deploy/socket-proxy.cfg between the agent and the Engine. It passes only the calls
//! that an agent needs.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::Release;
use crate::support::{Pi, WATCHED};

/// The port of the proxy, in the network of its Pi.
const PORT: u16 = 2375;

/// Longer than HAProxy takes to start.
const SOON: Duration = Duration::from_secs(30);

/// A HAProxy in front of the Engine of a Pi; ended when dropped.
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
        let proxy = Self { process, peer: Peer::Tcp(pi.engine.address_of(PORT)) };
        wait_until("the proxy answers", SOON, || proxy.status("GET", "/_ping") == 200);
        proxy
    }

    /// The status of a call; 0: no answer.
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
    let _proxy = Proxy::start(&pi);
    let output = |words: &[&str]| {
        let host = format!("--docker-host=tcp://127.0.0.1:{PORT}");
        pi.agent.run(&pi.engine, &[words, &[&host]].concat())
    };
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let two = pi.registry.publish("till", &Release::new("2"));

    output(&["update"]).expect_code(0);

    pi.assert_settled("till", &two, 1);
    pi.registry.publish("till", &Release::new("3").with("TILL_EXIT_AFTER", "0s"));
    output(&["update"]).expect_code(3);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
    output(&["rollback", "till"]).expect_code(0);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 1"));
    let other = pi.registry.publish("hooked", &Release::new("1"));
    let probe = "--label=pilotfish.health.probe=exec:/till healthcheck";
    pi.start_watched("hooked", &other.reference, 8081, &[probe]);
    pi.registry.publish("hooked", &Release::new("2"));
    let output = output(&["update", "hooked"]).expect_code(0);
    assert_eq!(pi.serving(8081).as_deref(), Some("till 2"), "{}", output.out);
}

/// Every path of Docker's API (v1.51), with placeholders for a container, an image, …
const PATHS: &str = "_ping version info events auth system/df session build build/prune build/cancel grpc
    commit containers/json containers/create containers/prune containers/X containers/X/json
    containers/X/top containers/X/logs containers/X/changes containers/X/export containers/X/stats
    containers/X/resize containers/X/start containers/X/stop containers/X/restart containers/X/kill
    containers/X/update containers/X/rename containers/X/pause containers/X/unpause
    containers/X/attach containers/X/attach/ws containers/X/wait containers/X/archive
    containers/X/exec containers/X/copy containers/X/checkpoints containers/X/checkpoints/X
    exec/0a/start exec/0a/resize exec/0a/json images/json images/create images/search images/prune
    images/get images/load images/X images/a/b/X images/X/json images/a/b/X/json images/X/history
    images/X/push images/X/tag images/X/get images/X/attestations networks networks/create
    networks/prune networks/X networks/X/connect networks/X/disconnect volumes volumes/create
    volumes/prune volumes/X volumes/pilotfish-lock plugins plugins/privileges plugins/pull
    plugins/create plugins/X plugins/X/json plugins/X/enable plugins/X/disable plugins/X/upgrade
    plugins/X/push plugins/X/set nodes nodes/X nodes/X/update swarm swarm/init swarm/join swarm/leave
    swarm/update swarm/unlockkey swarm/unlock services services/create services/X services/X/update
    services/X/logs tasks tasks/X tasks/X/logs secrets secrets/create secrets/X secrets/X/update
    configs configs/create configs/X configs/X/update distribution/X/json
    libpod/containers/X/json libpod/info libpod/images/X/json nonsense";

/// The calls that pass. The proxy itself must answer all others.
const PASS: &str = "GET _ping GET version GET info GET events GET containers/json GET
    containers/X/json GET containers/X/logs GET containers/X/changes HEAD containers/X/archive GET
    images/json GET images/X/json GET images/a/b/X/json POST containers/create POST
    containers/X/start POST containers/X/stop POST containers/X/update POST containers/X/rename
    POST images/X/tag POST networks/X/connect POST networks/X/disconnect DELETE containers/json
    DELETE containers/create DELETE containers/prune DELETE containers/X DELETE images/json DELETE
    images/create DELETE images/search DELETE images/prune DELETE images/get DELETE images/load
    DELETE images/X DELETE images/a/b/X DELETE images/X/json DELETE images/a/b/X/json DELETE
    images/X/history DELETE images/X/push DELETE images/X/tag DELETE images/X/get DELETE
    images/X/attestations GET networks/create GET networks/prune GET networks/X GET volumes/create
    GET volumes/prune GET volumes/X GET volumes/pilotfish-lock POST volumes/create DELETE
    volumes/pilotfish-lock POST containers/X/exec POST exec/0a/start GET exec/0a/json";

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

#[test]
fn every_other_call_is_answered_by_the_socket_proxy_itself() {
    let pi = Pi::new();
    let proxy = Proxy::start(&pi);
    let pass: Vec<&str> = PASS.split_whitespace().collect();
    let pass: Vec<_> = pass.chunks(2).map(|call| (call[0], call[1])).collect();
    assert!(pass.iter().all(|(_, path)| PATHS.split_whitespace().any(|it| it == *path)));
    let mut tried = 0;
    for path in PATHS.split_whitespace() {
        for method in METHODS {
            let passes = pass.contains(&(method, path));
            // The event stream ends at once with this query; all other calls name missing objects.
            let query = if path == "events" { "?until=1" } else { "" };
            for prefix in ["", "/v1.41"] {
                let status = proxy.status(method, &format!("{prefix}/{path}{query}"));
                assert_eq!(status != 403, passes, "{method} {prefix}/{path}: {status}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1500, "{tried} calls");
}

#[test]
fn no_other_spelling_of_a_call_passes_the_socket_proxy() {
    let pi = Pi::new();
    let proxy = Proxy::start(&pi);
    let header = |method: &str, path: &str, name: &str, value: &str| {
        let answer = proxy.peer.request(method, path, &[(name, value)], b"");
        answer.map_or(0, |answer| answer.status)
    };
    for (method, path) in [
        ("GET", "/v1.41/images/x/../../networks/json"),
        ("GET", "/images/%2e%2e/networks/json"),
        ("GET", "/images/x/%2E%2E/%2e%2e/volumes/json"),
        ("GET", "/containers/x%2farchive/json"),
        ("GET", "//networks"),
        ("GET", "/v1.41//volumes"),
        ("GET", "/containers/x/archive?path=/"),
        ("GET", "/containers/x/json/../archive"),
        ("POST", "/images/create?fromSrc=http://127.0.0.1/x.tar"),
        ("POST", "/images/create?fromImage=a&fromSrc=-"),
        ("POST", "/images/create?fromImage=a&from%53rc=-"),
        ("POST", "/images/create"),
        ("DELETE", "/containers/x?force=true"),
        ("DELETE", "/containers/x?v=1&force=1"),
        ("DELETE", "/containers/x?%66orce=true"),
        ("DELETE", "/images/x?force=yes"),
        ("get", "/version"),
        ("POST", "/version"),
        ("GET", "/v1.41/v1.41/networks"),
        ("GET", "/networks?x=/version"),
        ("GET", "/networks#/version"),
        ("DELETE", "/volumes/pilotfish-lock2"),
        ("GET", "/volumes"),
    ] {
        let status = proxy.status(method, path);
        assert!(matches!(status, 400 | 403 | 0), "{method} {path}: {status}");
    }
    let form = "application/x-www-form-urlencoded";
    let pull = "/images/create?fromImage=127.0.0.1:1/nothing&tag=1";
    assert_eq!(header("POST", pull, "Content-Type", form), 403);
    assert_eq!(header("GET", "/version", "Upgrade", "h2c"), 403);
    assert_eq!(header("POST", "/exec/0a/start", "Upgrade", "h2c"), 403);
    assert_ne!(header("POST", "/exec/0a/start", "Upgrade", "tcp"), 403);
    assert_ne!(proxy.status("DELETE", "/containers/x?force=false&v=true"), 403);
}

#[test]
fn the_agents_own_socket_proxy_is_never_replaced() {
    let pi = Pi::new();
    let _proxy = Proxy::start(&pi);
    let one = pi.registry.publish("till", &Release::new("1"));
    // It has the name by which the Engine is reached, as a proxy in a container does.
    let proxy = pi.start("localhost", &one.reference, &WATCHED);
    pi.start_watched("till", &one.reference, 8080, &[]);
    pi.registry.publish("till", &Release::new("2"));
    let host = format!("--docker-host=tcp://localhost:{PORT}");

    let output = pi.agent.run(&pi.engine, &["update", "--force", &host]).expect_code(0);

    let expected = "localhost is held: cannot_recreate\n    the agent reaches the Engine through";
    assert!(output.out.contains(expected), "{}", output.out);
    assert_eq!(pi.id("localhost"), proxy);
    assert_eq!(pi.serving(8080).as_deref(), Some("till 2"));
}
