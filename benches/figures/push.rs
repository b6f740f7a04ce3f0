//! Pushes over TLS: the memory of the agent, the time beside `docker load` of the same file, and
//! the bytes of a change.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::Value;

use crate::footprint::{Spent, number_behind};
use crate::pi;
use crate::support::QUIET;
use crate::support::images::Release;
use crate::support::pushed::{PushedPi, address, path};
use crate::table::{Table, median, megabytes, milliseconds};

/// Bytes of the large layer.
const BALLAST: usize = 200_000_000;

/// How often a load is measured. Each time has an Engine of its own, which knows no layer.
const TRIES: usize = 3;

const TILL: &str = "[[deployment]]\nname = \"till\"\n";

/// The times of one image: `docker load`, `docker load` and `sync`, and the push until its update
/// begins, which has the flush in it.
struct Times {
    load: Duration,
    load_and_sync: Duration,
    push: Duration,
    /// The time of the processor that the agent used for the push and its update.
    processor: Duration,
    /// The most memory that the agent has had.
    peak: u64,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let large = Release::new("2").with_ballast(BALLAST);
    let times: Vec<_> = (0..TRIES).map(|_| one(binary, &large)).collect();
    let of = |time: fn(&Times) -> Duration| median(times.iter().map(time).collect());
    let (load, flushed, push) = (of(|it| it.load), of(|it| it.load_and_sync), of(|it| it.push));
    let size = megabytes(BALLAST as u64);
    let peak = times.iter().map(|it| it.peak).max().unwrap_or_default();
    let what = format!("push of an image with {size} over TLS: most memory of the agent");
    table.add(&what, megabytes(peak), "<= 12 MB");
    table.add("docker load of that archive, median of 3", milliseconds(load), "");
    table.add("docker load and sync, median of 3", milliseconds(flushed), "");
    table.add("push until the image is flushed, median of 3", milliseconds(push), "");
    let processor = milliseconds(of(|it| it.processor));
    table.add("processor time of the agent for that push, median of 3", processor, "");
    let share = |of: Duration| format!("{:.2}", push.as_secs_f64() / of.as_secs_f64());
    table.add("push, as a share of docker load", share(load), "<= 1.2");
    table.add("push, as a share of docker load and sync", share(flushed), "");
    change(binary, large, table);
}

/// A Pi that serves version 1 and takes pushes.
fn serving(binary: &Path) -> PushedPi {
    let pushed = PushedPi::on(pi(binary), TILL, QUIET);
    let one = pushed.pi.registry.publish("till", &Release::new("1"));
    pushed.pi.start("till", &one.reference, &["--publish=8080:8080"]);
    pushed.pi.wait_until_serving(8080);
    pushed
}

fn one(binary: &Path, large: &Release) -> Times {
    let mut pushed = serving(binary);
    let archive = pushed.save(large, "large");
    pushed.run();
    // The first one is not counted: the Engine and the disk are warm for all others.
    load(&pushed, &archive);
    let load_took = load(&pushed, &archive);
    let begun = Instant::now();
    let engine = &pushed.pi.engine;
    engine.docker(&["load", "--quiet", "--input", path(&archive)]);
    assert!(engine.command("sync").status().expect("sync").success());
    let load_and_sync = begun.elapsed();
    engine.docker(&["image", "rm", "pushed-by-hand:latest"]);
    let process = pushed.agent.as_ref().expect("an agent").pid();
    let before = Spent::of(process).processor;
    let push = push(&pushed, &archive);
    let processor = Spent::of(process).processor - before;
    assert_eq!(pushed.pi.serving(8080).as_deref(), Some("till 2"));
    Times { load: load_took, load_and_sync, push, processor, peak: peak(process) }
}

/// `docker load`; then the image is removed.
fn load(pushed: &PushedPi, archive: &Path) -> Duration {
    let engine = &pushed.pi.engine;
    let begun = Instant::now();
    engine.docker(&["load", "--quiet", "--input", path(archive)]);
    let took = begun.elapsed();
    engine.docker(&["image", "rm", "pushed-by-hand:latest"]);
    // What is written late must not be a part of the next measurement.
    assert!(engine.command("sync").status().expect("sync").success());
    took
}

/// Pushes, and returns after which time the update began.
fn push(pushed: &PushedPi, archive: &Path) -> Duration {
    let begun = Instant::now();
    let mut curl = pushed.client();
    curl.args(["--no-buffer", "-T", path(archive)]).arg(address("/v1/deployments/till/load"));
    let mut curl = curl.stdout(Stdio::piped()).spawn().expect("curl");
    let mut lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    let took = begun.elapsed();
    assert!(first.contains("\"event\""), "{first}");
    let last = lines.last().expect("a line").expect("text");
    assert!(last.contains("\"outcome\":\"updated\""), "{last}");
    curl.wait().expect("curl");
    took
}

/// The most memory that the process has had in RAM, in bytes.
fn peak(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    number_behind(&status.expect("the process"), "VmHWM:") * 1024
}

/// One small file is new in an image whose layers the device has.
fn change(binary: &Path, large: Release, table: &mut Table) {
    let mut pushed = serving(binary);
    let (two, three) = (pushed.save(&large, "two"), large.with_file("change", b"one file"));
    let three = pushed.save(&three, "three");
    pushed.run();
    pushed.push("till", &two, &["--whole"]).expect_code(0);
    let begun = Instant::now();
    pushed.push("till", &three, &[]).expect_code(0);
    let took = begun.elapsed();
    let audit = fs::read_to_string(pushed.pi.agent.state().join("audit.jsonl")).expect("an audit");
    let last = audit.lines().rev().find(|line| line.contains("\"act\":\"load\"")).expect("a load");
    let last: Value = serde_json::from_str(last).expect("JSON");
    let (sent, size) =
        (last["bytes"].as_u64().expect("bytes"), fs::metadata(three).expect("it").len());
    let share = format!("{sent} B, {:.3} %", 100.0 * sent as f64 / size as f64);
    table.add("sent for a change of one small file in that image", share, "<= 1 %");
    table.add("that push with its update, stable time 1 s", milliseconds(took), "");
}
