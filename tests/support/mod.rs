//! A Raspberry Pi for each test: a private Engine, a registry and the agent, in their own network.
//! The tests never use the Engine of the machine they run on.

pub mod agent;
pub mod broker;
pub mod clients;
pub mod command;
pub mod compose;
pub mod engine;
pub mod files;
pub mod http;
pub mod haproxy;
pub mod images;
pub mod probe;
pub mod pushed;
pub mod registry;
pub mod relay;
pub mod shop;
pub mod swarm;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::{Agent, Finished, Running, begins_step};
use crate::support::command::wait_until;
use crate::support::engine::Engine;
use crate::support::http::Peer;
use crate::support::registry::{Published, Registry, is_containerd_store};

/// How long a service may take to answer after its container was started.
const SERVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an update may take to reach a step: a pull, a stop, and the verification.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of an agent that starts no round by itself.
pub const QUIET: &str = "every = \"1000h\"";

/// The labels of watched containers in the tests. The times are short, so that a verdict takes
/// seconds.
pub const WATCHED: [&str; 3] = [
    "--label=pilotfish.enable=true",
    "--label=pilotfish.health.stable=2s",
    "--label=pilotfish.health.timeout=8s",
];

/// A machine with an Engine, a registry, and the agent installed.
pub struct Pi {
    // The fields are dropped in this order.
    pub registry: Registry,
    pub agent: Agent,
    pub engine: Engine,
}

impl Pi {
    /// A machine whose agent starts no round by itself.
    pub fn new() -> Self {
        Self::with(&[], QUIET)
    }

    /// A machine with flags for dockerd and settings for the agent (see `Agent::install`).
    pub fn with(flags: &[&str], settings: &str) -> Self {
        let engine = Engine::start(flags);
        let registry = Registry::start(&engine);
        let agent = Agent::install(&engine, settings);
        Self { registry, agent, engine }
    }

    /// `docker run -d --name NAME --restart=always OPTIONS IMAGE`; returns the container's ID.
    pub fn start(&self, name: &str, image: &str, options: &[&str]) -> String {
        let mut arguments = vec!["run", "--detach", "--name", name, "--restart=always"];
        arguments.extend_from_slice(options);
        arguments.push(image);
        self.engine.docker(&arguments)
    }

    /// Starts a watched container with a till at `port`, and waits until it serves.
    pub fn start_watched(&self, name: &str, image: &str, port: u16, options: &[&str]) -> String {
        let publish = format!("--publish={port}:8080");
        let mut all = WATCHED.to_vec();
        all.push(&publish);
        all.extend_from_slice(options);
        let id = self.start(name, image, &all);
        self.wait_until_serving(port);
        id
    }

    /// Waits until the till at that port answers.
    pub fn wait_until_serving(&self, port: u16) {
        let what = format!("something serves at port {port}");
        wait_until(&what, SERVE_TIMEOUT, || self.serving(port).is_some());
    }

    /// The answer of the till at that port, such as `till 2`, if it serves.
    pub fn serving(&self, port: u16) -> Option<String> {
        let answer = Peer::Tcp(self.engine.address_of(port)).get("/").ok()?;
        Some(answer.text().trim_end().to_owned())
    }

    /// Runs `pilotfish update NAME…` to its end.
    pub fn update(&self, names: &[&str]) -> Finished {
        let mut arguments = vec!["update"];
        arguments.extend_from_slice(names);
        self.agent.run(&self.engine, &arguments)
    }

    /// Starts `pilotfish update`, and returns once its journal says that it has reached the step.
    /// If the step is short, the update may be further, or at its end.
    pub fn update_until(&self, step: &str) -> Running {
        let mut running = self.agent.spawn(&self.engine, &["update"]);
        wait_until(&format!("the update comes to {step}"), STEP_TIMEOUT, || {
            let entries = self.agent.entries();
            entries.iter().any(|entry| begins_step(entry, step)) || !running.is_running()
        });
        running
    }

    /// The row of the container in `pilotfish check`.
    pub fn check(&self, name: &str) -> Value {
        self.agent.check(&self.engine, name)
    }

    /// The container's updates in the history, newest first.
    pub fn history(&self, name: &str) -> Vec<Value> {
        self.agent.history(&self.engine, name)
    }

    /// The document of the container of that name, which must exist.
    pub fn inspect(&self, name: &str) -> Value {
        let found = self.engine.inspect(name);
        found.unwrap_or_else(|| panic!("no container {name}: {:#?}", self.names()))
    }

    /// The ID of the container of that name.
    pub fn id(&self, name: &str) -> String {
        text(&self.inspect(name)["Id"])
    }

    /// The ID of the image that the container of that name runs.
    pub fn image(&self, name: &str) -> String {
        text(&self.inspect(name)["Image"])
    }

    /// The names of all containers with their states, such as `till running`.
    pub fn names(&self) -> Vec<String> {
        let containers = self.engine.containers();
        let mut names: Vec<String> = containers.iter().map(name_and_state).collect();
        names.sort();
        names
    }

    /// Asserts that nothing is in flight: NAME runs this image under its original restart policy,
    /// there are exactly `count` containers, and no journal is left.
    #[track_caller]
    pub fn assert_settled(&self, name: &str, image: &Published, count: usize) {
        let names = self.names();
        assert!(names.contains(&format!("{name} running")), "{name} does not run: {names:?}");
        assert_eq!(names.len(), count, "unexpected containers: {names:?}");
        let container = self.inspect(name);
        assert_eq!(image_of(&container, image), image.image, "{name} runs another image");
        assert_eq!(container["HostConfig"]["RestartPolicy"]["Name"], "always");
        assert_eq!(self.agent.journals(), Vec::<PathBuf>::new(), "open journals");
    }
}

impl Drop for Pi {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Ok(answer) = Peer::Unix(self.engine.socket()).get("/containers/json?all=1") {
                eprintln!("containers: {:#}", answer.json());
            }
            eprintln!("what the Engine complained about:\n{}", self.engine.last_errors());
        }
    }
}

/// The image that a container runs on. Containerd's store names the pulled object, which may be an
/// index around the image; then the descriptor of its manifest is in the document too.
fn image_of(container: &Value, expected: &Published) -> String {
    let manifest = &container["ImageManifestDescriptor"]["digest"];
    if is_containerd_store() && *manifest == expected.digest {
        return expected.image.clone();
    }
    text(&container["Image"])
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}

fn name_and_state(container: &Value) -> String {
    // Links give a container further names, of the form /OTHER/ALIAS.
    let names = container["Names"].as_array().into_iter().flatten().map(text);
    let own = names.min_by_key(|name| name.matches('/').count()).unwrap_or_default();
    format!("{} {}", own.trim_start_matches('/'), text(&container["State"]))
}
