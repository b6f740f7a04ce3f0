//! A group of four services and a job: how long each service is away in one update of all, next to
//! the time that the Engine itself needs to stop, rename and start the same four containers.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::downtime_probe::Watch;
use crate::pi;
use crate::support::Pi;
use crate::support::images::Release;
use crate::table::{Table, median, milliseconds};

/// How often each is measured, alternating.
const PAIRS: u32 = 10;

/// The services, in the order in which they start.
const SERVICES: [&str; 4] = ["queue", "api", "worker", "web"];

/// The port of the first service.
const FIRST_PORT: u16 = 8111;

/// How long the job runs: much longer than a service may be away.
const JOB_TIME: &str = "3s";

/// The options of each member. On the host network no address resolution takes part.
const MEMBER: [&str; 6] = [
    "--network=host",
    "--label=pilotfish.enable=true",
    "--label=pilotfish.group=shop",
    "--label=pilotfish.group.settle=0s",
    "--label=pilotfish.health.stable=1s",
    "--label=pilotfish.health.timeout=8s",
];

pub fn measure(binary: &Path, table: &mut Table) {
    let pi = pi(binary);
    let images = publish(&pi, 0);
    run_job(&pi, &images["migrate"]);
    for (name, port) in services() {
        pi.start(name, &images[name], &as_options(&options(port)));
        pi.wait_until_serving(port);
    }
    let (mut bare, mut updates, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        bare.extend(watched(|| replace_by_hand(&pi, &images), &pi));
        publish(&pi, pair);
        let begun = Instant::now();
        updates.extend(watched(|| _ = pi.update(&[]).expect_code(0), &pi));
        took.push(begun.elapsed());
        let expected = Some(format!("till {pair}"));
        assert_eq!(pi.serving(FIRST_PORT), expected, "the update did not happen");
    }
    report(table, bare, updates, median(took));
}

fn report(table: &mut Table, bare: Vec<Duration>, updates: Vec<Duration>, took: Duration) {
    let longest = updates.iter().copied().max().unwrap_or_default();
    let (bare, updates) = (median(bare), median(updates));
    let ratio = updates.as_secs_f64() / bare.as_secs_f64();
    table.add("four services by hand: stop, rename, start: each away", milliseconds(bare), "");
    let what = format!("a group of them and a job of {JOB_TIME}: each away");
    table.add(&what, milliseconds(updates), "");
    table.add("ratio of the two, medians of 40 services", format!("{ratio:.2}"), "≤ 1.2");
    let what = "longest time a service was away, the job included";
    table.add(what, milliseconds(longest), &format!("< {JOB_TIME}"));
    table.add("the whole update", format!("{:.1} s", took.as_secs_f64()), "");
}

/// How long each service was away meanwhile.
fn watched(act: impl FnOnce(), pi: &Pi) -> Vec<Duration> {
    let watch = |(_, port)| Watch::begin(pi.engine.address_of(port));
    let watches: Vec<_> = services().map(watch).collect();
    act();
    for (_, port) in services() {
        pi.wait_until_serving(port);
    }
    watches.into_iter().map(Watch::total).collect()
}

/// What an update does to the four services in the gap, and nothing else.
fn replace_by_hand(pi: &Pi, images: &BTreeMap<&str, String>) {
    let call = |path: String| pi.engine.call("POST", &path).succeeded(&path);
    for (name, port) in services() {
        let mut create: Vec<String> = vec!["create".into(), format!("--name=next-{name}")];
        create.extend(options(port));
        create.extend(["--restart=always".to_owned(), images[name].clone()]);
        pi.engine.docker(&as_options(&create));
    }
    let begun = Instant::now();
    for name in SERVICES.iter().rev() {
        call(format!("/containers/{name}/stop"));
    }
    for name in SERVICES {
        call(format!("/containers/{name}/rename?name=last-{name}"));
        call(format!("/containers/next-{name}/rename?name={name}"));
    }
    for name in SERVICES {
        call(format!("/containers/{name}/start"));
    }
    eprintln!("    by hand: {:.0?}", begun.elapsed());
    for (name, port) in services() {
        pi.wait_until_serving(port);
        pi.engine.docker(&["rm", &format!("last-{name}")]);
    }
    // A round in the second of a start would find containers that have just started.
    thread::sleep(Duration::from_secs(1));
}

fn services() -> impl Iterator<Item = (&'static str, u16)> {
    SERVICES.into_iter().zip(FIRST_PORT..)
}

/// Each service depends on the one before it, and the first one on the job.
fn options(port: u16) -> Vec<String> {
    let before = match port - FIRST_PORT {
        0 => "migrate:completed",
        place => SERVICES[usize::from(place) - 1],
    };
    let own = [format!("--label=pilotfish.depends-on={before}"), format!("--env=TILL_PORT={port}")];
    MEMBER.map(str::to_owned).into_iter().chain(own).collect()
}

fn as_options(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// Publishes a release of all images; each has an image of its own. The program of the job ends by
/// itself.
fn publish(pi: &Pi, version: u32) -> BTreeMap<&'static str, String> {
    let release = |name| Release::new(&version.to_string()).with_label("name", name);
    let job = release("migrate").with("TILL_EXIT_AFTER", JOB_TIME).with("TILL_EXIT_CODE", "0");
    let job = job.with("TILL_PORT", "8110");
    let services = SERVICES.map(|name| (name, release(name)));
    let all = services.into_iter().chain([("migrate", job)]);
    all.map(|(name, release)| (name, pi.registry.publish(name, &release).reference)).collect()
}

fn run_job(pi: &Pi, image: &str) {
    pi.engine.docker(&[&["run", "--name=migrate"][..], &MEMBER, &[image]].concat());
}
