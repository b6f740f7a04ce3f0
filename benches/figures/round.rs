//! A round over many containers without news: its calls and its writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::footprint::resident;
use crate::pi_with;
use crate::proxy::Proxy;
use crate::support::Pi;
use crate::support::agent::scrape;
use crate::support::command::wait_until;
use crate::support::images::Release;
use crate::support::registry::Published;
use crate::table::{Table, megabytes, milliseconds};

/// How many containers there are.
pub const CONTAINERS: usize = 200;
const IMAGES: usize = 50;

/// How many `docker run` run at once; the Engine does little of it in parallel.
const STARTERS: usize = 4;

/// The interval of rounds; no round takes nearly as long.
const EVERY: &str = "every = \"10s\"\njitter = \"0%\"";

/// Longer than the wait for a round and the round itself.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);

/// The cost of one round.
struct Cost {
    calls: Vec<String>,
    heads: usize,
    gets: usize,
    written: u64,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let pi = pi_with(binary, EVERY);
    let proxy = Proxy::start(&pi.engine.directory().join("proxy.sock"), pi.engine.socket());
    pi.agent.connect_to(&pi.engine.directory().join("proxy.sock"));
    start_containers(&pi);
    let begun = Instant::now();
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    let first = cost_of_round(&pi, &proxy, agent.pid(), 1);
    let took = begun.elapsed();
    table.add("start and first round, 200 containers of 50 images", milliseconds(took), "");
    report(table, "first round", &first, "≤ 2.00");
    let _second = cost_of_round(&pi, &proxy, agent.pid(), 2);
    let third = cost_of_round(&pi, &proxy, agent.pid(), 3);
    report(table, "third round", &third, "fewer");
    let state = files(&pi.agent.state());
    cost_of_round(&pi, &proxy, agent.pid(), 4);
    let changed = state != files(&pi.agent.state());
    let figure = if changed { "changed" } else { "unchanged" };
    table.add("state directory over the fourth round", figure.to_owned(), "unchanged");
    table.add("resident memory with 200 containers", megabytes(resident(agent.pid())), "");
}

/// Starts them all, on images of the registry of the Pi.
pub fn start_containers(pi: &Pi) {
    let published = |number: usize| {
        let release = Release::new(&number.to_string());
        pi.registry.publish(&format!("shop/till-{number}"), &release)
    };
    let images: Vec<Published> = (0..IMAGES).map(published).collect();
    for image in &images {
        pi.engine.docker(&["pull", "--quiet", &image.reference]);
    }
    thread::scope(|scope| {
        for starter in 0..STARTERS {
            let images = &images;
            scope.spawn(move || {
                for number in (starter..CONTAINERS).step_by(STARTERS) {
                    let reference = &images[number % IMAGES].reference;
                    let options = ["--network=none", "--label=pilotfish.enable=true"];
                    pi.start(&format!("till-{number}"), reference, &options);
                }
            });
        }
    });
}

/// Waits for the end of the round with that number; the difference of the counters is its cost.
fn cost_of_round(pi: &Pi, proxy: &Proxy, agent: Pid, number: u32) -> Cost {
    let requests = pi.registry.requests().len();
    let written = bytes_written(agent);
    let rounds = format!("pilotfish_checks_total{{outcome=\"ok\"}} {number}");
    wait_until("the end of the round", ROUND_TIMEOUT, || {
        let ended = scrape(&pi.engine, "/metrics").lines().any(|line| line == rounds);
        thread::sleep(Duration::from_millis(100));
        ended
    });
    let requests = pi.registry.requests().split_off(requests);
    let of = |method: &str| requests.iter().filter(|line| line.starts_with(method)).count();
    Cost {
        calls: proxy.take(),
        heads: of("HEAD "),
        gets: requests.iter().filter(|line| line.starts_with("GET /v2/shop/")).count(),
        written: bytes_written(agent) - written,
    }
}

fn report(table: &mut Table, round: &str, cost: &Cost, calls_goal: &str) {
    let per_container = cost.calls.len() as f64 / CONTAINERS as f64;
    let what = format!("Engine calls per container, {round}");
    table.add(&what, format!("{per_container:.2}"), calls_goal);
    table.add(&format!("HEADs, {round}"), cost.heads.to_string(), "50");
    table.add(&format!("GETs, {round}"), cost.gets.to_string(), "0");
    let what = format!("bytes sent to the disk, {round}");
    table.add(&what, cost.written.to_string(), "0");
    for (kind, count) in kinds(&cost.calls) {
        eprintln!("    {count} × {kind}");
    }
}

/// The calls by kind, without names and IDs.
fn kinds(calls: &[String]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for call in calls {
        let path = call.split('?').next().unwrap_or_default();
        let parts = path.split('/').map(|part| if part.len() >= 12 { "ID" } else { part });
        *kinds.entry(parts.collect::<Vec<_>>().join("/")).or_default() += 1;
    }
    kinds
}

/// The bytes that the process has caused to be written to a disk since its start.
fn bytes_written(process: Pid) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", process.as_raw_pid())).expect("io");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|text| text.parse().ok()).expect("write_bytes")
}

/// Every file in the directory with its size and its time of change.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("metadata"));
        if metadata.is_dir() {
            found.extend(files(&path));
        }
        let change = format!("{} {:?}", metadata.len(), metadata.modified().expect("a time"));
        found.insert(path.display().to_string(), change);
    }
    found
}
