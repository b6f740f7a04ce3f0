//! The size of the agent: on disk, and in memory, time and writes while it has nothing to do.
//!
//! Another updater is measured by the same code (`peer`): its rows begin with its name and have no
//! goals. Its rounds are counted like the agent's, by the requests to the registry.

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::follower::{Follower, follow};
use crate::peer;
use crate::pi_with;
use crate::support::{QUIET, WATCHED};
use crate::table::{Table, megabytes};

/// How many rounds the agent runs before it is measured; `make footprint` asks for 1,000.
const ROUNDS: &str = "FOOTPRINT_ROUNDS";

/// The default: enough to see anything that grows quickly.
const ROUNDS_DEFAULT: u64 = 30;

/// How many seconds an idle updater is watched; `make footprint` asks for 600.
const REST: &str = "FOOTPRINT_REST";

/// The default.
const REST_DEFAULT: u64 = 60;

/// The pause after a round before the idle time: threads that it needed end ten seconds later, and
/// their counters go with them.
const SETTLING: Duration = Duration::from_secs(15);

/// The CPU time is given for this many rounds.
const ROUNDS_TOLD: u64 = 1_000;

/// The unit of the times in `/proc/PID/stat`; it is the same on every architecture that we build
/// for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The results of one follower, if it did what it should.
type Measured = (Table, Option<Spent>);

/// Idle and working, the agent and the other updater, all four side by side: each has its own
/// machine, and a disturbance affects all of them.
pub fn measure(binary: &Path, table: &mut Table) {
    let other = peer::program();
    add_size("", binary, "< 8 MB", table);
    let [rest, work, others_rest, others_work] = thread::scope(|scope| {
        let other = other.as_deref();
        let measured = [
            scope.spawn(|| at_rest(&agent(binary, QUIET))),
            scope.spawn(|| at_work(&agent(binary, "every = \"1s\""))),
            scope.spawn(move || {
                other.map_or_else(Measured::default, |it| at_rest(&peer::at_rest(it)))
            }),
            scope.spawn(move || {
                other.map_or_else(Measured::default, |it| at_work(&peer::at_work(it)))
            }),
        ];
        measured.map(|thread| thread.join().expect("what was measured"))
    });
    table.append(rest.0);
    table.append(work.0);
    if let Some(other) = &other {
        add_size(peer::NAME, other, "", table);
    }
    table.append(others_rest.0);
    table.append(others_work.0);
    let (rests, works) = ((rest.1, others_rest.1), (work.1, others_work.1));
    compare("memory at rest", &rests, table, |spent| spent.resident as f64);
    compare("memory after all rounds", &works, table, |spent| spent.resident as f64);
    compare("processor", &works, table, |spent| spent.processor.as_secs_f64());
}

fn add_size(name: &'static str, program: &Path, goal: &str, table: &mut Table) {
    let size = fs::metadata(program).expect("the program").len();
    add(name, table, "size of the binary", megabytes(size), goal);
}

fn compare(
    what: &str,
    (ours, theirs): &(Option<Spent>, Option<Spent>),
    table: &mut Table,
    of: impl Fn(&Spent) -> f64,
) {
    if let (Some(ours), Some(theirs)) = (ours.as_ref().map(&of), theirs.as_ref().map(&of)) {
        let share = format!("{:.0} %", 100.0 * ours / theirs);
        table.add(&format!("{what}, as a share of {}'s", peer::NAME), share, "<= 50 %");
    }
}

/// The agent, with `/metrics` on.
fn agent(binary: &Path, schedule: &str) -> Follower {
    let mut pi = pi_with(binary, &format!("{schedule}\njitter = \"0%\""));
    follow(&mut pi, &WATCHED);
    let running = pi.agent.spawn(&pi.engine, &["run"]);
    Follower { name: "", process: running.pid(), _running: Box::new(running), pi }
}

/// After the first round: how often the process wakes up, and what it writes.
fn at_rest(follower: &Follower) -> Measured {
    let mut table = Table::default();
    if !follower.makes_rounds(1) {
        return (table, None);
    }
    thread::sleep(SETTLING);
    let minutes = wanted(REST, REST_DEFAULT) as f64 / 60.0;
    let before = Spent::of(follower.process);
    thread::sleep(Duration::from_secs_f64(minutes * 60.0));
    let spent = Spent::of(follower.process).since(&before);
    let wakes = format!("{:.1}", spent.switches as f64 / minutes);
    let mut row = |what: &str, figure, goal| add(follower.name, &mut table, what, figure, goal);
    let after = format!("after {minutes:.0} minutes");
    row(&format!("resident memory at rest, {after}"), megabytes(spent.resident), "< 8 MB");
    row(&format!("wake-ups in a minute at rest, {after}"), wakes, "timers alone");
    row(&format!("written at rest, {after}"), format!("{} B", spent.written), "0 B");
    (table, Some(spent))
}

/// The memory of the process and its CPU time after the wanted number of rounds.
fn at_work(follower: &Follower) -> Measured {
    let mut table = Table::default();
    let count = wanted(ROUNDS, ROUNDS_DEFAULT);
    if !follower.makes_rounds(1) {
        return (table, None);
    }
    let (begun, before) = (Instant::now(), Spent::of(follower.process));
    if !follower.makes_rounds(count + 1) {
        return (table, None);
    }
    let spent = Spent::of(follower.process).since(&before);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after = format!("after {count} rounds in {minutes:.0} minutes");
    let seconds = spent.processor.as_secs_f64() * ROUNDS_TOLD as f64 / count as f64;
    let mut row = |what: &str, figure, goal| add(follower.name, &mut table, what, figure, goal);
    row(&format!("resident memory, {after}"), megabytes(spent.resident), "< 8 MB");
    row(&format!("processor for {ROUNDS_TOLD} rounds"), format!("{seconds:.2} s"), "");
    row(&format!("written, {after}"), format!("{} B", spent.written), "0 B");
    (table, Some(spent))
}

/// The value of the environment variable, or the default.
fn wanted(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Adds a row about the agent, or about another program, which has no goals.
fn add(name: &str, table: &mut Table, what: &str, figure: String, goal: &str) {
    match name {
        "" => table.add(what, figure, goal),
        _ => table.add(&format!("{name}: {what}"), figure, ""),
    }
}

/// What a process has used.
pub struct Spent {
    /// Memory in RAM, including its share of files, in bytes.
    pub resident: u64,
    /// How often one of its threads went to sleep by itself, so it had been woken up before.
    pub switches: u64,
    /// Bytes written to the disk.
    written: u64,
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
        // The name, in parentheses, may contain any character.
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

    /// The present memory, and the difference of everything else.
    fn since(&self, before: &Self) -> Self {
        Self {
            resident: self.resident,
            switches: self.switches - before.switches,
            written: self.written - before.written,
            processor: self.processor - before.processor,
        }
    }
}

/// The number behind a key of a file in `/proc`.
pub fn number_behind(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect(key)
}

/// The memory of the process in RAM, including its share of files, in bytes.
pub fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    number_behind(&status.expect("the process"), "VmRSS:") * 1024
}

/// The difference of two amounts of memory: `0.3 MB`, or `-0.1 MB`.
pub fn megabytes_between(less: u64, more: u64) -> String {
    format!("{:.2} MB", (more as f64 - less as f64) / 1e6)
}
