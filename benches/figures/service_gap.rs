//! The service gap of a good update, next to the time that the Engine itself needs to stop and
//! start the same container.

use std::path::Path;
use std::time::Duration;

use crate::downtime_probe::Watch;
use crate::pi;
use crate::support::Pi;
use crate::support::images::Release;
use crate::table::{Table, median, milliseconds};

/// How often each is measured, alternating.
const PAIRS: u32 = 20;

/// A till on the host network, so that no address resolution takes part.
pub const ON_THE_HOST: [&str; 4] = [
    "--network=host",
    "--label=pilotfish.enable=true",
    "--label=pilotfish.health.stable=1s",
    "--label=pilotfish.health.timeout=8s",
];

pub fn measure(binary: &Path, table: &mut Table) {
    let pi = pi(binary);
    let first = pi.registry.publish("till", &Release::new("0"));
    pi.start("till", &first.reference, &ON_THE_HOST);
    pi.wait_until_serving(8080);
    let (mut bare, mut updates) = (Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        bare.push(stop_and_start(&pi));
        pi.registry.publish("till", &Release::new(&pair.to_string()));
        let watch = Watch::begin(pi.engine.address_of(8080));
        pi.update(&[]).expect_code(0);
        updates.push(watch.total());
        assert_eq!(pi.serving(8080), Some(format!("till {pair}")), "the update did not happen");
    }
    report(table, median(bare), median(updates));
}

fn stop_and_start(pi: &Pi) -> Duration {
    let watch = Watch::begin(pi.engine.address_of(8080));
    pi.engine.call("POST", "/containers/till/stop").succeeded("stop");
    pi.engine.call("POST", "/containers/till/start").succeeded("start");
    pi.wait_until_serving(8080);
    watch.total()
}

fn report(table: &mut Table, bare: Duration, update: Duration) {
    let ratio = update.as_secs_f64() / bare.as_secs_f64();
    table.add("gap of the Engine's own stop + start", milliseconds(bare), "");
    table.add("gap of a good update", milliseconds(update), "");
    table.add("ratio of the two, medians of 20 pairs", format!("{ratio:.2}"), "≤ 1.15");
}
