//! How much room the agent takes: on disk, and in memory while it has nothing to do.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

use crate::pi_with;
use crate::support::agent::scrape;
use crate::support::images::Release;
use crate::table::{Table, megabytes};

/// How long the agent runs before its memory is read: a few rounds and a few scrapes.
const SETTLING: Duration = Duration::from_secs(10);

pub fn measure(binary: &Path, table: &mut Table) {
    let size = fs::metadata(binary).expect("the binary").len();
    table.add("size of the binary", megabytes(size), "< 8 MB");
    let pi = pi_with(binary, "every = \"2s\"");
    let one = pi.registry.publish("till", &Release::new("1"));
    pi.start_watched("till", &one.reference, 8080, &[]);
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    for _ in 0..5 {
        scrape(&pi.engine, "/metrics");
        thread::sleep(SETTLING / 5);
    }
    let memory = megabytes(resident(agent.pid()));
    table.add("idle resident memory, /metrics on", memory, "< 10 MB");
}

/// The memory of the process that is in RAM, its share of files included, in bytes.
pub fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    let status = status.expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.expect("VmRSS") * 1024
}
