//! A Swarm of private Engines: one manager and two workers, joined by a bridge in the network of
//! the manager, and a registry that all of them reach. Dropping it removes everything.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::support::command::run;
use crate::support::engine::Engine;
use crate::support::registry::{LOGIN_PORT, PORT, Published, Registry};
use crate::support::text;

/// The network between the Engines. It exists only in their own network namespaces, so that several
/// Swarms can have the same one.
const NETWORK: &str = "10.79.0.0/24";

/// The address of the manager, and of the registry, in that network.
const MANAGER: &str = "10.79.0.1";

/// The label of the nodes that run services in the tests.
const TABLE: &str = "type=table";

/// The options of a global service with a port of each host.
pub const GLOBAL: [&str; 3] = [
    "--mode=global",
    "--publish=mode=host,target=8080,published=80",
    "--mount=type=bind,source=/sys,target=/host-sys",
];

/// Only one Swarm at a time: three Engines fill a small machine, and the tests measure times.
static PLACE: Mutex<()> = Mutex::new(());

/// Waits until no other test has a Swarm. A test that failed leaves nothing behind.
pub fn only_one() -> MutexGuard<'static, ()> {
    PLACE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A Swarm.
pub struct Swarm {
    // The fields are dropped in this order.
    pub registry: Registry,
    /// The workers.
    pub tables: Vec<Engine>,
    pub manager: Engine,
    _place: MutexGuard<'static, ()>,
}

impl Swarm {
    /// Starts it; each worker has the label `type=table`.
    pub fn start() -> Self {
        let place = only_one();
        let mut engines = thread::scope(|scope| {
            let start = || Engine::start(&flags());
            let starts: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|it| it.join().expect("an Engine")).collect::<Vec<_>>()
        });
        let manager = engines.remove(0);
        let tables = engines;
        connect(&manager, &tables);
        manager.docker(&["swarm", "init", "--advertise-addr", MANAGER]);
        let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"]);
        let to = format!("{MANAGER}:2377");
        for (number, table) in tables.iter().enumerate() {
            let own = worker_address(number);
            table.docker(&["swarm", "join", "--token", &token, "--advertise-addr", &own, &to]);
            manager.docker(&["node", "update", "--label-add", TABLE, &node_id(table)]);
        }
        let registry = Registry::start(&manager);
        Self { registry, tables, manager, _place: place }
    }

    /// The name of an image for the nodes.
    pub fn reference(&self, image: &Published) -> String {
        let name = image.reference.split_once('/').map_or("", |(_, name)| name);
        format!("{MANAGER}:{PORT}/{name}")
    }

    /// A global service on all tables, with a port of each host, resolved by no client.
    pub fn create_tableservice(&self, image: &str) {
        self.create_service(&GLOBAL, image, None);
    }

    /// Creates `tableservice` with these options. `logins` is a directory with a `config.json`,
    /// whose login the Swarm keeps for the service.
    pub fn create_service(&self, options: &[&str], image: &str, logins: Option<&Path>) {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.manager.host()).args(["service", "create", "--detach"]);
        command.args(["--name=tableservice", "--label=pilotfish.enable=true"]).args(options);
        command.args(["--constraint=node.labels.type==table", "--no-resolve-image"]);
        if let Some(logins) = logins {
            command.env("DOCKER_CONFIG", logins).arg("--with-registry-auth");
        }
        run(command.arg(image));
    }

    /// Also serves the same images to clients with a login; returns the registry's name.
    pub fn serve_with_login(&mut self, htpasswd: &str) -> String {
        self.registry.serve_with_login(&self.manager, htpasswd);
        format!("{MANAGER}:{LOGIN_PORT}")
    }

    /// The document of a service, if it exists.
    pub fn service(&self, name: &str) -> Option<Value> {
        let answer = self.manager.call("GET", &format!("/services/{name}"));
        (answer.status != 404).then(|| answer.succeeded("inspect service").json())
    }

    /// The tasks of a service, as `NODE STATE DESIRED IMAGE ERROR`, for a failed test.
    pub fn tasks(&self, name: &str) -> Vec<String> {
        let filters = format!("%7B%22service%22%3A%5B%22{name}%22%5D%7D");
        let answer = self.manager.call("GET", &format!("/tasks?filters={filters}"));
        let tasks = answer.json();
        let line = |task: &Value| {
            let (status, spec) = (&task["Status"], &task["Spec"]["ContainerSpec"]);
            let (node, desired) = (&task["NodeID"], &task["DesiredState"]);
            format!("{node} {} {desired} {} {}", status["State"], spec["Image"], status["Err"])
        };
        tasks.as_array().into_iter().flatten().map(line).collect()
    }

    /// Starts the Engine of a table again after a kill.
    pub fn restart_table(&self, number: usize) {
        self.tables[number].start_again(&flags());
    }

    /// Kills the manager's Engine, and starts it again after `pause`.
    pub fn restart_manager(&self, pause: impl FnOnce()) {
        self.manager.kill();
        pause();
        self.manager.start_again(&flags());
    }
}

fn flags() -> [&'static str; 2] {
    ["--insecure-registry", NETWORK]
}

/// The ID of an Engine's own node.
pub fn node_id(engine: &Engine) -> String {
    text(&engine.call("GET", "/info").json()["Swarm"]["NodeID"])
}

fn worker_address(number: usize) -> String {
    format!("10.79.0.{}", number + 2)
}

/// Puts all Engines on a bridge in the network of the manager. The bridge ends with that network.
fn connect(manager: &Engine, tables: &[Engine]) {
    let ip = |engine: &Engine, words: &str| run(engine.command("ip").args(words.split(' ')));
    ip(manager, "link add swarm0 type bridge");
    ip(manager, &format!("addr add {MANAGER}/24 dev swarm0"));
    ip(manager, "link set swarm0 up");
    for (number, table) in tables.iter().enumerate() {
        let namespace = fs::read_to_string(table.directory().join("namespace")).expect("its name");
        let (namespace, own) = (namespace.trim(), worker_address(number));
        ip(
            manager,
            &format!("link add table{number} type veth peer name swarm0 netns {namespace}"),
        );
        ip(manager, &format!("link set table{number} master swarm0 up"));
        ip(table, &format!("addr add {own}/24 dev swarm0"));
        ip(table, "link set swarm0 up");
    }
}
