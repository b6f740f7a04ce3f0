//! How much room the agent takes: on disk, and in memory, time and wear while it has nothing to do.
//!
//! Another updater is measured by the same code (`peer`): its rows begin with its name, have no
//! goals, and its rounds are counted as the agent's are, by what the registry was asked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::pi_with;
use crate::support::images::Release;
use crate::support::{Pi, QUIET, WATCHED};
use crate::table::{Table, megabytes};

/// How many rounds the agent makes before it is measured; `make footprint` asks for 1,000.
const ROUNDS: &str = "FOOTPRINT_ROUNDS";

/// Without that: enough for whatever grows quickly.
const ROUNDS_DEFAULT: u64 = 30;

/// How long an agent without anything to do is watched.
const QUIET_TIME: Duration = Duration::from_secs(60);

/// How long after a round one waits for quiet: threads that it needed end ten seconds later, and
/// what they are counted for goes with them.
const SETTLING: Duration = Duration::from_secs(15);

/// What looks every second and asks nothing for so long will not ask.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How the Engine calls itself before a registry.
const ENGINE_AGENT: &str = "\"docker/";

/// How many rounds the time of a processor is told for.
const ROUNDS_TOLD: u64 = 1_000;

/// The unit of the times in `/proc/PID/stat`; it is the same on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn measure(binary: &Path, table: &mut Table) {
    let size = fs::metadata(binary).expect("the binary").len();
    table.add("size of the binary", megabytes(size), "< 8 MB");
    quiet(binary, table);
    rounds(binary, table);
}

/// An agent between two rounds, with `/metrics` on.
fn quiet(binary: &Path, table: &mut Table) {
    let mut pi = pi_with(binary, &format!("{QUIET}\njitter = \"0%\""));
    follow(&mut pi, &WATCHED);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    assert!(at_rest(&pi, agent.pid(), "", table), "it asks nothing: {}", agent.log());
}

/// An agent that has looked very often.
fn rounds(binary: &Path, table: &mut Table) {
    let mut pi = pi_with(binary, "every = \"1s\"\njitter = \"0%\"");
    follow(&mut pi, &WATCHED);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    assert!(after_rounds(&pi, agent.pid(), "", table), "it asks nothing: {}", agent.log());
}

/// Starts a container that follows a tag behind which nothing is new. Its registry speaks TLS, as
/// the other updater asks no other, under an authority that the Engine trusts; gives its file.
pub fn follow(pi: &mut Pi, labels: &[&str]) -> PathBuf {
    pi.registry.publish("till", &Release::new("1"));
    let registry = pi.registry.serve_tls(&pi.engine);
    pi.start("till", &format!("{registry}/till:latest"), labels);
    Path::new("/etc/docker/certs.d").join(registry).join("ca.crt")
}

/// After the first round: what the process wakes up for, and what it writes. `false` if there was
/// no round.
pub fn at_rest(pi: &Pi, process: Pid, name: &str, table: &mut Table) -> bool {
    if !makes_rounds(pi, 1) {
        return false;
    }
    thread::sleep(SETTLING);
    let before = Spent::of(process);
    thread::sleep(QUIET_TIME);
    let spent = Spent::of(process).since(&before);
    let mut row = rows(name, table);
    row("idle resident memory", megabytes(spent.resident), "< 8 MB");
    row("wake-ups in a quiet minute", spent.switches.to_string(), "timers alone");
    row("written in a quiet minute", format!("{} B", spent.written), "0 B");
    true
}

/// What the process has become, and has used up, after as many rounds as are wanted; `false` if it
/// does not make them.
pub fn after_rounds(pi: &Pi, process: Pid, name: &str, table: &mut Table) -> bool {
    let wanted = env::var(ROUNDS).ok().and_then(|text| text.parse().ok());
    let count: u64 = wanted.unwrap_or(ROUNDS_DEFAULT);
    if !makes_rounds(pi, 1) {
        return false;
    }
    let (begun, before) = (Instant::now(), Spent::of(process));
    if !makes_rounds(pi, count + 1) {
        return false;
    }
    let spent = Spent::of(process).since(&before);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after = format!("after {count} rounds in {minutes:.0} minutes");
    let reckoned = format!("processor for {ROUNDS_TOLD} rounds, reckoned from {count}");
    let seconds = spent.processor.as_secs_f64() * ROUNDS_TOLD as f64 / count as f64;
    let mut row = rows(name, table);
    row(&format!("resident memory, {after}"), megabytes(spent.resident), "< 8 MB");
    row(&reckoned, format!("{seconds:.1} s"), "");
    row(&format!("written, {after}"), format!("{} B", spent.written), "0 B");
    true
}

/// Adds rows about the agent, or about somebody else by that name, who has no goals.
fn rows(name: &str, table: &mut Table) -> impl FnMut(&str, String, &str) {
    move |what, figure, goal| match name {
        "" => table.add(what, figure, goal),
        _ => table.add(&format!("{name}: {what}"), figure, ""),
    }
}

/// Waits until the registry was asked so often what is behind the tag, which is what a round is;
/// `false` once it is asked nothing any more. The Engine's own question, at a pull, is none.
fn makes_rounds(pi: &Pi, count: u64) -> bool {
    let is_a_round = |line: &&String| {
        line.starts_with("HEAD /v2/till/manifests/") && !line.contains(ENGINE_AGENT)
    };
    let made = || pi.registry.requests().iter().filter(is_a_round).count() as u64;
    let (mut seen, mut since) = (made(), Instant::now());
    while seen < count && since.elapsed() < SILENCE_MAX {
        thread::sleep(Duration::from_secs(1));
        let now = made();
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
    }
    seen >= count
}

/// What a process has used up.
struct Spent {
    /// Memory that is in RAM, its share of files included, in bytes.
    resident: u64,
    /// How often a thread of it went to sleep by itself: it had been woken up before.
    switches: u64,
    /// What reached the disk, in bytes.
    written: u64,
    processor: Duration,
}

impl Spent {
    fn of(process: Pid) -> Self {
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

    /// The memory of now, and everything else since then.
    fn since(&self, before: &Self) -> Self {
        Self {
            resident: self.resident,
            switches: self.switches - before.switches,
            written: self.written - before.written,
            processor: self.processor - before.processor,
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
