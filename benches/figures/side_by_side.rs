//! A push that concerns ten independent containers: its duration, next to the duration for one
//! container, and next to an updater that updates one container after the other.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::downtime_probe::Watch;
use crate::pi;
use crate::support::Pi;
use crate::support::images::Release;
use crate::table::{Table, median, milliseconds};

/// How many containers get a new release.
const CONTAINERS: u16 = 10;

/// The port of the first container.
const FIRST_PORT: u16 = 8101;

/// The stable time of the figure: most of an update is this wait.
const STABLE: &str = "--label=pilotfish.health.stable=10s";

pub fn measure(binary: &Path, table: &mut Table) {
    let pi = pi(binary);
    for number in 0..CONTAINERS {
        let release = pi.registry.publish(&name(number), &release(1, number));
        start(&pi, number, &release.reference);
    }
    let (one, alone) = round(&pi, 1, 2);
    let (ten, side_by_side) = round(&pi, CONTAINERS, 3);
    let in_a_row = without_trial(&pi);
    table.add("one container, stable time 10 s", seconds(one), "");
    table.add("ten containers of ten images", seconds(ten), "");
    let ratio = ten.as_secs_f64() / one.as_secs_f64();
    table.add("ratio of the two", format!("{ratio:.2}"), "≤ 1.5");
    let what = "the same ten without any trial, one after the other (Watchtower's way)";
    table.add(what, seconds(in_a_row), "");
    let gap = side_by_side.as_secs_f64() / alone.as_secs_f64();
    table.add("service gap in that, median of ten", milliseconds(side_by_side), "");
    table.add("ratio to the gap of one alone", format!("{gap:.2}"), "1");
    one_is_bad(&pi, ten, table);
}

/// Nine good releases and one that ends at once.
fn one_is_bad(pi: &Pi, good: Duration, table: &mut Table) {
    let bad = release(5, 0).with("TILL_EXIT_AFTER", "0s");
    pi.registry.publish(&name(0), &bad);
    for number in 1..CONTAINERS {
        pi.registry.publish(&name(number), &release(5, number));
    }
    let begun = Instant::now();
    pi.update(&[]).expect_code(3);
    let took = begun.elapsed();
    let serving = |number: u16| pi.serving(FIRST_PORT + number).unwrap_or_default();
    let updated = (1..CONTAINERS).filter(|it| serving(*it).contains(" 5.")).count();
    let is_back = serving(0).contains(" 4.");
    table.add("one of the ten is bad: updated", format!("{updated} of 9"), "9 of 9");
    table.add("one of the ten is bad: the old one serves again", is_back.to_string(), "true");
    let ratio = took.as_secs_f64() / good.as_secs_f64();
    table.add("time of that, to ten good ones", format!("{ratio:.2}"), "≤ 1");
}

/// Publishes a release for the first containers, and updates them in one round. Returns the time of
/// the round, and the median of the service gaps.
fn round(pi: &Pi, containers: u16, version: u32) -> (Duration, Duration) {
    for number in 0..containers {
        pi.registry.publish(&name(number), &release(version, number));
    }
    let ports = (0..containers).map(|number| FIRST_PORT + number);
    let watches: Vec<_> = ports.map(|port| Watch::begin(pi.engine.address_of(port))).collect();
    let begun = Instant::now();
    pi.update(&[]).expect_code(0);
    let took = begun.elapsed();
    let gaps = watches.into_iter().map(Watch::total).collect();
    (took, median(gaps))
}

/// Pulls, removes and starts each container in turn, like an updater without a trial.
fn without_trial(pi: &Pi) -> Duration {
    let mut references = Vec::new();
    for number in 0..CONTAINERS {
        references.push(pi.registry.publish(&name(number), &release(4, number)).reference);
    }
    let begun = Instant::now();
    for (number, reference) in (0..CONTAINERS).zip(references) {
        pi.engine.docker(&["pull", "--quiet", &reference]);
        pi.engine.docker(&["stop", &name(number)]);
        pi.engine.docker(&["rm", &name(number)]);
        start(pi, number, &reference);
    }
    let took = begun.elapsed();
    // A round in the second of a start would find containers that have just started.
    thread::sleep(Duration::from_secs(1));
    took
}

fn start(pi: &Pi, number: u16, reference: &str) {
    let publish = format!("--publish={}:8080", FIRST_PORT + number);
    let labels = ["--label=pilotfish.enable=true", STABLE, "--label=pilotfish.health.timeout=20s"];
    let options: Vec<_> = labels.into_iter().chain([publish.as_str()]).collect();
    pi.start(&name(number), reference, &options);
    pi.wait_until_serving(FIRST_PORT + number);
}

/// A release that no other container has: containers with the same image are updated one after the
/// other.
fn release(version: u32, number: u16) -> Release {
    Release::new(&format!("{version}.{number}"))
}

fn name(number: u16) -> String {
    format!("till{number}")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
