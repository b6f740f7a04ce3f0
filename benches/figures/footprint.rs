//! How much room the agent takes: on disk, and in memory, time and wear while it has nothing to do.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::support::Pi;
use crate::support::agent::scrape;
use crate::support::images::Release;
use crate::table::{Table, megabytes};
use crate::{peer, pi_with};

/// How many rounds the agent makes before it is measured; `make footprint` asks for 1,000.
const ROUNDS: &str = "FOOTPRINT_ROUNDS";

/// Without that: enough for whatever grows quickly.
const ROUNDS_DEFAULT: u64 = 30;

/// How long an agent without anything to do is watched.
pub const QUIET_TIME: Duration = Duration::from_secs(60);

/// How long after a round one waits for quiet: threads that it needed end ten seconds later, and
/// what they are counted for goes with them.
pub const SETTLING: Duration = Duration::from_secs(15);

/// The unit of the times in `/proc/PID/stat`; it is the same on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn measure(binary: &Path, table: &mut Table) {
    let size = fs::metadata(binary).expect("the binary").len();
    table.add("size of the binary", megabytes(size), "< 8 MB");
    quiet(binary, table);
    rounds(binary, table);
    peer::measure(table);
}

/// How many rounds are made before the second look.
pub fn rounds_wanted() -> u64 {
    env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT)
}

/// An agent between two rounds: what it wakes up for, and what it writes.
fn quiet(binary: &Path, table: &mut Table) {
    let pi = pi_with(binary, "every = \"1000h\"\njitter = \"0%\"");
    watched(&pi);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    wait_for_rounds(&pi, 1);
    thread::sleep(SETTLING);
    let before = Spent::of(agent.pid());
    thread::sleep(QUIET_TIME);
    let after = Spent::of(agent.pid());
    table.add("idle resident memory, /metrics on", megabytes(after.resident), "< 8 MB");
    let woken = (after.switches - before.switches).to_string();
    table.add("wake-ups in a quiet minute", woken, "timers alone");
    let written = after.written - before.written;
    table.add("written in a quiet minute", format!("{written} B"), "0 B");
}

/// An agent that has looked very often.
fn rounds(binary: &Path, table: &mut Table) {
    let count = rounds_wanted();
    let pi = pi_with(binary, "every = \"1s\"\njitter = \"0%\"");
    watched(&pi);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    wait_for_rounds(&pi, 1);
    let (begun, before) = (Instant::now(), Spent::of(agent.pid()));
    wait_for_rounds(&pi, count + 1);
    let after = Spent::of(agent.pid());
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after_rounds = format!("after {count} rounds in {minutes:.0} minutes");
    table.add(&format!("resident memory, {after_rounds}"), megabytes(after.resident), "< 8 MB");
    let seconds = (after.processor - before.processor).as_secs_f64() * 1000.0 / count as f64;
    table.add("processor for 1,000 rounds", format!("{seconds:.1} s"), "");
    let written = after.written - before.written;
    table.add(&format!("written, {after_rounds}"), format!("{written} B"), "0 B");
}

/// A container that follows a tag behind which nothing is new.
fn watched(pi: &Pi) {
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
}

fn wait_for_rounds(pi: &Pi, count: u64) {
    let made = |page: &str| {
        let lines = page.lines().filter_map(|line| line.strip_prefix("pilotfish_checks_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    while made(&scrape(&pi.engine, "/metrics")) < count {
        thread::sleep(Duration::from_secs(1));
    }
}

/// What a process has used up.
pub struct Spent {
    /// Memory that is in RAM, its share of files included, in bytes.
    pub resident: u64,
    /// How often a thread of it went to sleep by itself: it had been woken up before.
    pub switches: u64,
    /// What reached the disk, in bytes.
    pub written: u64,
    pub processor: Duration,
}

impl Spent {
    pub fn of(process: Pid) -> Self {
        let number = process.as_raw_pid();
        let read = |name: &str| fs::read_to_string(format!("/proc/{number}/{name}"));
        let tasks = fs::read_dir(format!("/proc/{number}/task")).expect("its threads");
        let statuses =
            tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let stat = read("stat").expect("its times");
        // The name, in parentheses, may have anything in it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: u64 =
            fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Self {
            resident: resident(process),
            switches: statuses.map(|text| number_behind(&text, "voluntary_ctxt_switches:")).sum(),
            written: number_behind(&read("io").expect("its writes"), "write_bytes:"),
            processor: Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND),
        }
    }
}

fn number_behind(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect(key)
}

/// The memory of the process that is in RAM, its share of files included, in bytes.
pub fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    number_behind(&status.expect("the process"), "VmRSS:") * 1024
}
