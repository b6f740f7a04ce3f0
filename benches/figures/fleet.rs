//! Twenty agents at one Mosquitto with mutual TLS: how long a webhook takes until the last of them
//! has asked the registry, and what the connection costs an agent. Needs neither root nor an
//! Engine.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pilotfish::core::docker::reference::Digest;
use rustix::process::Pid;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::fake_engine::{Papers, serve};
use crate::footprint::{Spent, megabytes_between};
use crate::support::broker::{BrokerKind, Mosquitto};
use crate::support::command::wait_until;
use crate::support::http::Peer;
use crate::table::{Table, median, milliseconds};
use crate::tag_registry::serve_tags;

const AGENTS: usize = 20;

/// How many pushes are told, one after the other.
const PUSHES: usize = 10;

/// Looks at one reference are a second apart, and the machine is shared.
const PAUSE: Duration = Duration::from_millis(1500);

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long idle agents are watched: two keep-alives of two minutes.
const REST: Duration = Duration::from_secs(240);

/// What they did before goes on for some seconds: connections that are closed when they are idle.
const SETTLING: Duration = Duration::from_secs(45);

const SECRET: &str = "a secret of more than sixteen bytes";

/// When the registry was asked for a tag.
type Heads = Arc<Mutex<Vec<Instant>>>;

/// A program that ends with the measurement.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What all programs need.
struct Hub<'a> {
    binary: &'a Path,
    place: &'a Path,
    broker: &'a Mosquitto,
    reference: String,
    running: Digest,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (1..=AGENTS).map(|number| format!("pi-{number}")).collect();
    let with_bridge: Vec<&str> = names.iter().map(String::as_str).chain(["bridge"]).collect();
    let broker = Mosquitto::start(BrokerKind::Shipped, &with_bridge);
    let running = Digest::of(b"what runs");
    let heads = Heads::default();
    let noted = heads.clone();
    let note = move || noted.lock().expect("the list").push(Instant::now());
    let registry = runtime.block_on(serve_tags(running.clone(), Duration::ZERO, note));
    let reference = format!("{registry}/fleet/app:v1");
    let hub = Hub { binary, place: directory.path(), broker: &broker, reference, running };
    let (bridge, _bridge) = hub.bridge();
    let agents: Vec<_> = names.iter().map(|name| hub.agent(&runtime, name, true)).collect();
    let alone = hub.agent(&runtime, "alone", false);
    wait_until("all agents have looked once", START_TIMEOUT, || {
        heads.lock().expect("the list").len() > AGENTS
    });
    wait_until("all agents are connected", START_TIMEOUT, || {
        names.iter().all(|name| broker.log().contains(&format!(" as {name} (")))
    });
    thread::sleep(PAUSE);
    let (first, last) = (0..PUSHES).map(|number| hub.push(&bridge, &heads, number)).unzip();
    let worst = |times: &Vec<Duration>| times.iter().max().copied().unwrap_or_default();
    let (first, last): (Vec<Duration>, Vec<Duration>) = (first, last);
    let what = format!("{AGENTS} agents, a webhook to");
    table.add(&format!("{what} the first HEAD, median"), milliseconds(median(first)), "");
    table.add(
        &format!("{what} the last HEAD, median"),
        milliseconds(median(last.clone())),
        "≤ 500 ms",
    );
    table.add(&format!("{what} the last HEAD, worst of {PUSHES}"), milliseconds(worst(&last)), "");
    compare(&agents[0], &alone, table);
}

/// What the connection costs an idle agent.
fn compare(connected: &Program, alone: &Program, table: &mut Table) {
    let [connected, alone] = [connected, alone].map(|program| Pid::from_child(&program.0));
    thread::sleep(SETTLING);
    let before = [connected, alone].map(Spent::of);
    thread::sleep(REST);
    let spent = [connected, alone].map(Spent::of);
    let more = megabytes_between(spent[1].resident, spent[0].resident);
    table.add("memory of an idle agent with a broker, more than without", more, "≤ 0.5 MB");
    let minutes = REST.as_secs_f64() / 60.0;
    let wakes = |number: usize| spent[number].switches.saturating_sub(before[number].switches);
    let [with, without] = [0, 1].map(|number| wakes(number) as f64 / minutes);
    let words = format!("{with:.1} and {without:.1}");
    table.add("wake-ups in an idle minute, with and without a broker", words, "≤ 1 more");
}

impl Hub<'_> {
    fn program(&self, name: &str, configuration: &str, command: &str) -> Program {
        let config = self.place.join(format!("{name}.toml"));
        fs::write(&config, configuration).expect("a configuration");
        let log = fs::File::create(self.place.join(format!("{name}.log"))).expect("a log");
        let child = Command::new(self.binary)
            .arg("--config")
            .arg(config)
            .arg(command)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program");
        Program(child)
    }

    fn mqtt(&self, name: &str) -> String {
        let file = |file| self.broker.file_of(name, file);
        format!(
            "[mqtt]\nurl = \"mqtts://{}\"\nca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}\n",
            self.broker.address(),
            file("ca.crt"),
            file("client.crt"),
            file("client.key"),
        )
    }

    /// An agent that has a fake Engine to itself, and looks once at its start.
    fn agent(&self, runtime: &Runtime, name: &str, has_broker: bool) -> Program {
        let place = self.place.join(name);
        fs::create_dir(&place).expect("a directory");
        let (images, running) = (vec![self.reference.clone()], Some(self.running.clone()));
        let papers = Papers { images, running, ..Papers::default() };
        let socket = runtime.block_on(async { serve(&place, papers) });
        let mqtt = if has_broker { self.mqtt(name) } else { String::new() };
        let configuration = format!(
            "state_dir = {:?}\ndocker_host = \"unix://{}\"\n[schedule]\nevery = \"1h\"\n\
             jitter = \"0%\"\n[listen]\naddress = \"\"\n[device]\nname = {name:?}\n{mqtt}",
            place.join("state"),
            socket.display(),
        );
        self.program(name, &configuration, "run")
    }

    fn bridge(&self) -> (Peer, Program) {
        let secret = self.place.join("secret");
        fs::write(&secret, SECRET).expect("a secret");
        Command::new("chmod").arg("600").arg(&secret).status().expect("chmod");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let configuration = format!(
            "[listen]\naddress = \"\"\n[webhook]\naddress = \"{address}\"\ntoken_file = {secret:?}\n{}",
            self.mqtt("bridge")
        );
        let program = self.program("bridge", &configuration, "bridge");
        let peer = Peer::Tcp(address);
        wait_until("the bridge listens", START_TIMEOUT, || peer.get("/").is_ok());
        (peer, program)
    }

    /// Tells of one push. Returns the times until the first and the last agent have asked.
    fn push(&self, bridge: &Peer, heads: &Heads, number: usize) -> (Duration, Duration) {
        heads.lock().expect("the list").clear();
        let digest = Digest::of(number.to_string().as_bytes());
        let pushed = json!({"v": 1, "pushed": [{"ref": self.reference, "digest": digest}]});
        let bearer = format!("Bearer {SECRET}");
        let headers = [("Authorization", bearer.as_str())];
        let begun = Instant::now();
        let body = pushed.to_string();
        let answer = bridge.request("POST", "/v1/webhook", &headers, body.as_bytes());
        assert_eq!(answer.expect("an answer").status, 202);
        wait_until("all agents have asked", START_TIMEOUT, || {
            heads.lock().expect("the list").len() >= AGENTS
        });
        let asked = heads.lock().expect("the list").clone();
        thread::sleep(PAUSE);
        let since = |at: Option<&Instant>| at.map(|at| *at - begun).unwrap_or_default();
        (since(asked.first()), since(asked.get(AGENTS - 1)))
    }
}
