//! What a bad release costs: how long the service is down until the old container serves again.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::downtime_probe::Watch;
use crate::pi;
use crate::service_gap::ON_THE_HOST;
use crate::support::Pi;
use crate::support::images::Release;
use crate::table::{Table, median, milliseconds};

/// How often the release that exits at once is tried.
const TRIES: u32 = 5;

pub fn measure(binary: &Path, table: &mut Table) {
    let pi = pi(binary);
    let good = pi.registry.publish("till", &Release::new("good"));
    pi.start("till", &good.reference, &ON_THE_HOST);
    pi.wait_until_serving(8080);
    let gaps = (1..=TRIES).map(|number| {
        let bad = Release::new(&format!("bad {number}")).with("TILL_EXIT_AFTER", "0s");
        take(&pi, &bad).0
    });
    let gap = median(gaps.collect());
    table.add("gap when the new image exits at once, median of 5", milliseconds(gap), "≤ 1000 ms");
    drop(pi);
    for after in ["3s", "20s"] {
        dies(binary, table, after);
    }
}

/// With the default stable time.
fn dies(binary: &Path, table: &mut Table, after: &str) {
    let pi = pi(binary);
    let good = pi.registry.publish("till", &Release::new("good"));
    pi.start("till", &good.reference, &ON_THE_HOST[..2]);
    pi.wait_until_serving(8080);
    let (gap, took) = take(&pi, &Release::new("bad").with("TILL_EXIT_AFTER", after));
    let figure = format!("yes, {:.1} s after the round began", took.as_secs_f64());
    table.add(&format!("rolled back when the new image dies after {after}"), figure, "yes");
    let what = format!("time without service in that, dies after {after}");
    table.add(&what, milliseconds(gap), "");
}

/// Offers the bad release; returns the time without service, and the time of the whole round.
fn take(pi: &Pi, bad: &Release) -> (Duration, Duration) {
    pi.registry.publish("till", bad);
    let watch = Watch::begin(pi.engine.address_of(8080));
    let begun = Instant::now();
    pi.update(&[]).expect_code(3);
    let took = begun.elapsed();
    let gap = watch.total();
    assert_eq!(pi.serving(8080).as_deref(), Some("till good"), "the old one is not back");
    (gap, took)
}
