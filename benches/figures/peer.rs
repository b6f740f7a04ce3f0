//! The same figures for freshdock, another updater, in the same run: what is much, and what little.
//!
//! It is run as its users run it, `freshdock run`, on the same kind of Pi with the same container,
//! and is looked at from outside alone. A round of it is one question to the registry.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::footprint::{QUIET_TIME, SETTLING, Spent, rounds_wanted};
use crate::support::images::Release;
use crate::support::{Pi, QUIET};
use crate::table::{Table, megabytes};

/// Names the program, which is none of ours.
const PROGRAM: &str = "FRESHDOCK";

/// What opts a container in, with updates at once.
const WATCHED: [&str; 2] = ["--label=freshdock.enable=true", "--label=freshdock.mode=live"];

/// Its default; between two polls it looks that often whether anything is due.
const TICK: &str = "60";

/// One that should look every second and asks nothing for so long will not ask.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Longer than the measurement, in seconds.
const NEVER: &str = "3600000";

/// freshdock while it runs; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub fn measure(table: &mut Table) {
    let Some(program) = env::var_os(PROGRAM).map(PathBuf::from).filter(|path| path.exists()) else {
        eprintln!("  freshdock is not measured: {PROGRAM} names no program");
        return;
    };
    let size = fs::metadata(&program).expect("the program").len();
    table.add("freshdock: size of the binary", megabytes(size), "");
    quiet(&program, table);
    rounds(&program, table);
}

fn quiet(program: &Path, table: &mut Table) {
    let pi = pi();
    let running = start(program, &pi, NEVER, TICK);
    thread::sleep(SETTLING);
    let before = Spent::of(Pid::from_child(&running.0));
    thread::sleep(QUIET_TIME);
    let after = Spent::of(Pid::from_child(&running.0));
    table.add("freshdock: idle resident memory", megabytes(after.resident), "");
    let woken = (after.switches - before.switches).to_string();
    table.add("freshdock: wake-ups in a quiet minute", woken, "");
    let written = after.written - before.written;
    table.add("freshdock: written in a quiet minute", format!("{written} B"), "");
}

fn rounds(program: &Path, table: &mut Table) {
    let count = rounds_wanted();
    let pi = pi();
    let running = start(program, &pi, "1", "1");
    if !makes_rounds(&pi, 1) {
        eprintln!(
            "  freshdock asks this registry, which has no TLS, nothing: no rounds to measure"
        );
        return;
    }
    let (begun, before) = (Instant::now(), Spent::of(Pid::from_child(&running.0)));
    assert!(makes_rounds(&pi, count + 1), "freshdock has stopped to ask");
    let after = Spent::of(Pid::from_child(&running.0));
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let after_rounds = format!("after {count} rounds in {minutes:.0} minutes");
    let what = format!("freshdock: resident memory, {after_rounds}");
    table.add(&what, megabytes(after.resident), "");
    let seconds = (after.processor - before.processor).as_secs_f64() * 1000.0 / count as f64;
    table.add("freshdock: processor for 1,000 rounds", format!("{seconds:.1} s"), "");
    let written = after.written - before.written;
    table.add(&format!("freshdock: written, {after_rounds}"), format!("{written} B"), "");
}

fn pi() -> Pi {
    let pi = Pi::with(&[], QUIET);
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start("till", &one.reference, &WATCHED);
    pi
}

fn start(program: &Path, pi: &Pi, interval: &str, tick: &str) -> Running {
    let mut command = pi.engine.command(program);
    command.args(["--no-color", "run", "--interval", interval, "--tick", tick]);
    command.env("DOCKER_HOST", pi.engine.host()).current_dir("/");
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().expect("freshdock"))
}

/// Waits for so many rounds; `false` once it asks nothing any more. The Engine asks by HEAD as
/// well, once, when it pulls what is run.
fn makes_rounds(pi: &Pi, count: u64) -> bool {
    let is_a_question = |line: &&String| line.starts_with("HEAD /v2/till/manifests/");
    let made = || pi.registry.requests().iter().filter(is_a_question).count() as u64;
    let (mut seen, mut since) = (made(), Instant::now());
    while seen < count + 1 {
        thread::sleep(Duration::from_secs(1));
        let now = made();
        if now > seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > SILENCE_MAX {
            return false;
        }
    }
    true
}
