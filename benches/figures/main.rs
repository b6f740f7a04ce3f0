//! The figures of Pilotfish, printed next to their goals. Nothing is asserted, because machines
//! differ; `make bench` is for people.
//!
//! `figures BINARY [gap] [bad] [handover] [parallel] [round] [answers] [check] [registry] [silent]
//! [hostile] [fleet] [mirror] [swarm] [projects] [push] [footprint]` measures that binary; without
//! a topic, all of them.

#![expect(clippy::expect_used, reason = "a measurement that cannot be made ends by saying why")]

#[expect(dead_code, reason = "the tests use more of their support than the measurements do")]
#[path = "../../tests/support/mod.rs"]
mod support;

mod response_times;
#[expect(dead_code, reason = "the tests know more ways to be wrong")]
#[path = "../../tests/registry/certificates.rs"]
mod certificates;
#[expect(dead_code, reason = "the tests know more kinds of images")]
#[path = "../../tests/registry/images.rs"]
mod images;
#[path = "../../tests/registry/fake_engine.rs"]
mod fake_engine;
#[path = "../../tests/registry/real.rs"]
mod real;
#[expect(dead_code, reason = "the tests ask more of it")]
#[path = "../../tests/registry/scripted.rs"]
mod scripted;

mod bad_release;
mod fleet;
mod follower;
mod mirror;
mod footprint;
mod fresh_check;
mod service_gap;
mod hostile_registry;
mod peer;
mod projects;
mod proxy;
mod push;
mod registry;
mod round;
mod side_by_side;
mod silent_registry;
mod start_first;
mod swarm;
mod table;
mod tag_registry;
mod downtime_probe;

use std::path::{Path, PathBuf};

use crate::support::{Pi, QUIET};
use crate::table::Table;

/// Measures the binary, and adds the results to the table.
type Measure = fn(&Path, &mut Table);

/// The topics: the name on the command line, and the function.
const TOPICS: [(&str, Measure); 16] = [
    ("gap", service_gap::measure),
    ("bad", bad_release::measure),
    ("handover", start_first::measure),
    ("parallel", side_by_side::measure),
    ("round", round::measure),
    ("answers", response_times::measure),
    ("check", fresh_check::measure),
    ("registry", registry::measure),
    ("silent", silent_registry::measure),
    ("hostile", hostile_registry::measure),
    ("fleet", fleet::measure),
    ("mirror", mirror::measure),
    ("swarm", swarm::measure),
    ("projects", projects::measure),
    ("push", push::measure),
    ("footprint", footprint::measure),
];

fn main() {
    // Cargo adds `--bench`, which has no meaning here.
    let mut words: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    assert!(
        !words.is_empty(),
        "figures BINARY [gap|bad|handover|parallel|round|answers|check|registry|silent|hostile|fleet|mirror|swarm|projects|push|footprint]…"
    );
    let binary = PathBuf::from(words.remove(0)).canonicalize().expect("the binary to measure");
    let mut table = Table::default();
    for (topic, measure) in TOPICS {
        if words.is_empty() || words.iter().any(|word| word == topic) {
            eprintln!("measuring {topic}…");
            measure(&binary, &mut table);
        }
    }
    print!("{table}");
}

/// A Pi with the binary to measure. Its agent runs only on command.
fn pi(binary: &Path) -> Pi {
    pi_with(binary, QUIET)
}

/// The same with settings for the agent.
fn pi_with(binary: &Path, settings: &str) -> Pi {
    let mut pi = Pi::with(&[], settings);
    binary.clone_into(&mut pi.agent.binary);
    pi
}
