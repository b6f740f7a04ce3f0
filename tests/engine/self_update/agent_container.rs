//! A Pi whose agent runs in a container, and helpers for the tests.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::Pi;
use crate::support::agent::{METRICS_PORT, begins_step};
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::support::images::{Release, agent_layer};
use crate::support::registry::{PORT, Published, architecture};
use crate::support::text;

/// How long an update of the agent may take, with interruptions and the wait for the self-update
/// helper.
pub(super) const UPDATE: Duration = Duration::from_secs(120);

/// The registry is reached by its address on the bridge, over plain HTTP.
pub(super) const FLAGS: [&str; 1] = ["--insecure-registry=10.77.0.0/16"];

/// The agent's HTTP port, `METRICS_PORT`, published as on the Pi itself.
pub(super) const PUBLISH: &str = "--publish=9788:9788";

pub(super) const AGENT: &str = "pilotfish";
pub(super) const HELPER: &str = "pilotfish-helper-pilotfish";

/// A Pi whose agent runs in a container on a bridge, with a published port.
pub(super) struct AgentInContainer {
    pub(super) pi: Pi,
    /// The registry's address on the bridge.
    registry: String,
}

/// A release of the agent: the same program, with another variable in its image.
fn release(variable: &str) -> Vec<u8> {
    let second = Duration::from_secs(1).as_nanos() as u64;
    let image = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": ["/pilotfish"],
            "Cmd": ["run"],
            "Env": [variable],
            "ExposedPorts": { "9788/tcp": {} },
            "Healthcheck": {
                "Test": ["CMD", "/pilotfish", "healthcheck"],
                "Interval": second,
                "Timeout": 5 * second,
                "Retries": 3,
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [agent_layer().diff_id] },
    });
    image.to_string().into_bytes()
}

impl AgentInContainer {
    /// A Pi whose agent runs version 1.
    pub(super) fn new() -> Self {
        Self::with(&[], &[PUBLISH])
    }

    /// The same with flags for dockerd and options for the agent's container.
    pub(super) fn with(flags: &[&str], options: &[&str]) -> Self {
        let home = Self::without_an_agent(flags);
        let one = home.publish("VERSION=1");
        let state = format!("--volume={}:/state", home.pi.agent.state().display());
        home.start_agent(&[&[&*state], options].concat());
        assert_eq!(home.pi.image(AGENT), one.image);
        home.wait_until_ready();
        home
    }

    pub(super) fn without_an_agent(flags: &[&str]) -> Self {
        let pi = Pi::with(&[&FLAGS, flags].concat(), "");
        let registry = pi.engine.address_of(PORT).to_string();
        let settings = format!(
            "state_dir = \"/state\"\n\
             time_zone = \"UTC\"\n\
             [listen]\n\
             address = \"0.0.0.0:{METRICS_PORT}\"\n\
             [schedule]\n\
             every = \"1000h\"\n\
             [registries.\"{registry}\"]\n\
             plain_http = true\n"
        );
        fs::create_dir_all(pi.agent.state()).expect("the state directory");
        fs::write(pi.engine.directory().join("inside.toml"), settings).expect("settings");
        Self { pi, registry }
    }

    /// Publishes a release of the agent.
    pub(super) fn publish(&self, variable: &str) -> Published {
        self.pi.registry.publish_image(AGENT, &[agent_layer()], &release(variable))
    }

    /// Publishes a release of the till; returns its reference on this Pi.
    pub(super) fn publish_till(&self, version: &str) -> (String, Published) {
        let published = self.pi.registry.publish("till", &Release::new(version));
        (format!("{}/till:latest", self.registry), published)
    }

    pub(super) fn start_agent(&self, options: &[&str]) -> String {
        let directory = self.pi.engine.directory();
        let mounts = [
            format!("--volume={}:/var/run/docker.sock", self.pi.engine.socket().display()),
            format!(
                "--volume={}:/etc/pilotfish/pilotfish.toml:ro",
                directory.join("inside.toml").display()
            ),
        ];
        let labels = [
            "--label=pilotfish.enable=true",
            "--label=pilotfish.health.stable=1s",
            "--label=pilotfish.health.timeout=30s",
        ];
        let mut all = vec![mounts[0].as_str(), mounts[1].as_str()];
        all.extend(labels);
        all.extend(options);
        self.pi.start(AGENT, &format!("{}/{AGENT}:latest", self.registry), &all)
    }

    pub(super) fn wait_until_ready(&self) {
        wait_until("the agent answers", UPDATE, || self.serves("/readyz"));
    }

    /// Waits until one agent is left and nothing is in progress.
    pub(super) fn wait_until_alone(&self) {
        wait_until("one agent is left", UPDATE, || self.is_alone());
        self.wait_until_ready();
    }

    pub(super) fn serves(&self, path: &str) -> bool {
        let answer = Peer::Tcp(self.pi.engine.address_of(METRICS_PORT)).get(path);
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Asks the agent to update itself, and returns once the self-update helper has started.
    pub(super) fn start_self_update(&self) {
        let output = self.pi.update(&[AGENT]).expect_code(0);
        assert!(output.out.contains(HELPER), "{}", output.out);
    }

    /// Waits until the helper's journal says that the step has begun. The helper may be further by
    /// then.
    pub(super) fn wait_for_step(&self, step: &str) {
        wait_until(&format!("the helper comes to {step}"), UPDATE, || {
            let entries = self.pi.agent.entries();
            entries.iter().any(|entry| begins_step(entry, step)) || self.is_alone()
        });
    }

    /// Whether there is one agent, no self-update helper, and no self-update in progress.
    pub(super) fn is_alone(&self) -> bool {
        let names = self.pi.names();
        let ours = names.iter().filter(|name| name.starts_with(AGENT));
        ours.eq([&format!("{AGENT} running")])
            && !self.pi.agent.state().join("handover.json").exists()
    }

    /// Waits until nothing is in progress, and checks the result.
    #[track_caller]
    pub(super) fn assert_settled_on(&self, image: &Published) {
        self.wait_until_alone();
        assert_eq!(self.pi.image(AGENT), image.image);
        let container = self.pi.inspect(AGENT);
        assert_eq!(container["HostConfig"]["RestartPolicy"]["Name"], "always");
        assert_eq!(self.pi.agent.journals(), Vec::<std::path::PathBuf>::new());
    }

    /// The same if the update may have been interrupted: the image is not refused then, so the next
    /// round tries it again.
    #[track_caller]
    pub(super) fn assert_settles_on(&self, image: &Published) {
        self.wait_until_alone();
        if self.pi.image(AGENT) != image.image {
            self.start_self_update();
        }
        self.assert_settled_on(image);
    }

    /// `kill -9` of a container's process. The Engine starts it again.
    pub(super) fn kill(&self, container: &str) -> bool {
        let Some(found) = self.pi.engine.inspect(container) else { return false };
        let pid = found["State"]["Pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32));
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// The agent's report on itself, after a fresh request to the registry.
    pub(super) fn check(&self) -> Value {
        let document = self.pi.agent.json(&self.pi.engine, &["check", AGENT, "--fresh", "--json"]);
        document["containers"][0].clone()
    }

    /// How many updates of itself with this outcome the agent has counted since its start.
    pub(super) fn counted(&self, outcome: &str) -> u64 {
        let line =
            format!("pilotfish_updates_total{{container=\"{AGENT}\",outcome=\"{outcome}\"}} ");
        let page =
            Peer::Tcp(self.pi.engine.address_of(METRICS_PORT)).get("/metrics").expect("metrics");
        let page = page.text();
        let count = page.lines().find_map(|known| known.strip_prefix(&line));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    pub(super) fn outcomes(&self) -> Vec<String> {
        self.pi.history(AGENT).iter().map(|update| text(&update["outcome"])).collect()
    }
}
