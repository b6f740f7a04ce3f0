//! A fresh `check` of many containers without news, with a registry that is far away: its calls to
//! the Engine, its duration in latencies, and its peak memory. Needs neither root nor an Engine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use pilotfish::core::docker::reference::Digest;
use tokio::runtime::Runtime;

use crate::fake_engine::{Papers, serve};
use crate::registry::{Cost, LATENCY, run};
use crate::table::Table;
use crate::tag_registry::serve_tags;

/// Where a person can install another program to be measured as well: `cargo install --git
/// https://github.com/sergi0g/cup --no-default-features --features cli --root target/peers`.
const PEER: &str = "target/peers/bin/cup";

/// How often each command runs; the best run counts, because the machine disturbs the others.
const TIMES: usize = 5;

/// How many images there are.
const IMAGES: usize = 500;

/// How many containers run on each image, and the goals: calls of the Engine, latencies, memory.
const SIZES: [(usize, [&str; 3]); 2] =
    [(1, ["≤ 8", "≤ 6.0", "≤ 10 MB"]), (4, ["≤ 8", "≤ 7.0", "≤ 14 MB"])];

/// Everything that a command needs.
struct Surroundings<'a> {
    place: &'a Path,
    socket: &'a Path,
    registry: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let digest = Digest::of(b"what runs");
    let registry = runtime.block_on(serve_tags(digest.clone(), LATENCY, || {}));
    for (on_each_image, goals) in SIZES {
        let place = tempfile::tempdir_in(directory.path()).expect("a directory");
        let images = (0..IMAGES).map(|number| format!("{registry}/fleet/app:v{number}"));
        let (images, running) = (images.collect(), Some(digest.clone()));
        let papers = Papers { images, running, on_each_image, ..Papers::default() };
        let asked = papers.asked.clone();
        let socket = runtime.block_on(async { serve(place.path(), papers) });
        let surroundings = Surroundings { place: place.path(), socket: &socket, registry, asked };
        let what = format!("check, {IMAGES} images, {} containers", IMAGES * on_each_image);
        surroundings.measure(|| surroundings.pilotfish(binary), &what, goals, table);
        if Path::new(PEER).exists() {
            let what = format!("{what}, cup");
            surroundings.measure(|| surroundings.cup(), &what, [""; 3], table);
        } else {
            eprintln!("  {PEER} is not there, so nothing is measured beside it");
        }
    }
}

impl Surroundings<'_> {
    /// Runs a command several times, and adds the figures of its fastest run.
    fn measure(
        &self,
        command: impl Fn() -> Command,
        what: &str,
        goals: [&str; 3],
        table: &mut Table,
    ) {
        let once = |_| {
            self.asked.lock().expect("the list").clear();
            let cost = run(command(), &self.place.join("out"));
            (cost, self.asked.lock().expect("the list").len())
        };
        let runs = (0..TIMES).map(once).min_by_key(|(cost, _)| cost.wall);
        let (cost, calls): (Cost, usize) = runs.expect("a run");
        let latencies = cost.wall.as_secs_f64() / LATENCY.as_secs_f64();
        table.add(&format!("{what}: Engine calls"), calls.to_string(), goals[0]);
        table.add(&format!("{what}: latencies"), format!("{latencies:.1}"), goals[1]);
        table.add(&format!("{what}: peak memory"), cost.memory, goals[2]);
    }

    /// A new state directory each time.
    fn pilotfish(&self, binary: &Path) -> Command {
        let state = tempfile::tempdir_in(self.place).expect("a directory").keep();
        let config = self.place.join("pilotfish.toml");
        let socket = self.socket.display();
        let text = format!("state_dir = {state:?}\ndocker_host = \"unix://{socket}\"\n");
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(binary);
        command.arg("--config").arg(config).arg("check");
        command
    }

    fn cup(&self) -> Command {
        let config = self.place.join("cup.json");
        let address = self.registry;
        let text = format!(
            "{{\"version\": 3, \"registries\": {{\"{address}\": {{\"insecure\": true}}}}}}"
        );
        fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(PEER);
        command.arg("--socket").arg(format!("unix://{}", self.socket.display()));
        command.arg("--config").arg(config).args(["check", "--raw"]);
        command
    }
}
