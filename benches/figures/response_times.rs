//! How long a person waits for an answer: `check` over many containers, and `--help`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::pi;
use crate::round::{CONTAINERS, start_containers};
use crate::support::Pi;
use crate::support::agent::scrape;
use crate::table::{Table, median, milliseconds};

/// How often each command runs.
const TIMES: usize = 11;

pub fn measure(binary: &Path, table: &mut Table) {
    let help = (0..TIMES).map(|_| time_of_help(binary)).collect();
    table.add("pilotfish --help", milliseconds(median(help)), "< 20 ms");
    let pi = pi(binary);
    start_containers(&pi);
    let what = format!("check without an agent, {CONTAINERS} containers");
    table.add(&what, milliseconds(time_of_check(&pi, &["check"])), "one round");
    let agent = pi.agent.spawn(&pi.engine, &["run"]);
    scrape(&pi.engine, "/healthz");
    let what = format!("check --fresh through an agent, {CONTAINERS} containers");
    table.add(&what, milliseconds(time_of_check(&pi, &["check", "--fresh"])), "one round");
    let known = (0..TIMES).map(|_| time_of_check(&pi, &["check"])).collect();
    let what = format!("check through an agent that has looked, {CONTAINERS} containers");
    table.add(&what, milliseconds(median(known)), "< 300 ms");
    agent.terminate().expect_code(0);
}

fn time_of_help(binary: &Path) -> Duration {
    let begun = Instant::now();
    let status = Command::new(binary).arg("--help").stdout(Stdio::null()).status();
    assert!(status.expect("the binary").success());
    begun.elapsed()
}

fn time_of_check(pi: &Pi, words: &[&str]) -> Duration {
    let begun = Instant::now();
    let told = pi.agent.run(&pi.engine, words).expect_code(0);
    let took = begun.elapsed();
    assert!(told.out.contains(&format!("{CONTAINERS} containers:")), "{}", told.out);
    took
}
