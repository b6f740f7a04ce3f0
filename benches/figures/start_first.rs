//! The requests that fail during an update, for clients of all kinds: if the old container stops
//! first, and if the new one starts first.

use std::path::Path;
use std::time::Duration;

use crate::pi;
use crate::support::clients::{CACHE_TIME, ClientKind};
use crate::support::haproxy::Retry;
use crate::support::images::Release;
use crate::support::shop::{Shop, release};
use crate::table::Table;

/// The least number of requests of each client.
const REQUESTS_MIN: usize = 1000;

/// How long the clients ask after an update: time for so many requests, and for the end of what a
/// client keeps.
const AFTERWARDS: Duration = Duration::from_secs(12);

/// The exit code after a failed release.
const ROLLED_BACK: i32 = 3;

const START_FIRST: &str = "--label=pilotfish.update.order=start-first";

/// How an update is measured.
struct Row {
    name: &'static str,
    options: Vec<String>,
    next: Release,
    is_good: bool,
    /// The clients that must not see a failure.
    spared: fn(&str) -> bool,
}

pub fn measure(binary: &Path, table: &mut Table) {
    let sick = || release("2").with("TILL_UNHEALTHY_AFTER", "0s");
    let start_first = |more: &[String]| [&[START_FIRST.to_owned()], more].concat();
    let outlives = format!("--label=pilotfish.update.drain={}s", CACHE_TIME.as_secs() + 5);
    let row = |name, options: Vec<String>, next, is_good, spared| Row {
        name,
        options,
        next,
        is_good,
        spared,
    };
    let rows = [
        row("stop-first, good", Vec::new(), release("2"), true, |_| false),
        row("stop-first, bad", Vec::new(), sick(), false, |_| false),
        row("start-first, good", start_first(&[]), release("2"), true, is_careful),
        row("start-first, bad", start_first(&[]), sick(), false, |_| true),
        row("drain of 35 s, good", start_first(&[outlives]), release("2"), true, is_careful),
    ];
    for row in rows {
        update(binary, &row, table);
    }
}

/// A client that asks another address if one fails.
fn is_careful(kind: &str) -> bool {
    kind == ClientKind::TriesAll.to_string() || kind == Retry::Once.to_string()
}

fn update(binary: &Path, row: &Row, table: &mut Table) {
    let options: Vec<&str> = row.options.iter().map(String::as_str).collect();
    let mut shop = Shop::open(pi(binary), &options);
    shop.pi.registry.publish("till", &row.next);
    shop.ask();
    shop.pi.update(&[]).expect_code(if row.is_good { 0 } else { ROLLED_BACK });
    for (kind, requests) in shop.close(AFTERWARDS) {
        assert!(requests.count >= REQUESTS_MIN, "{kind}: only {} requests", requests.count);
        let goal = if (row.spared)(&kind) { "0 failed" } else { "" };
        let what = format!("{}: {kind}", row.name);
        table.add(&what, format!("{requests}, slowest {:.1?}", requests.slowest), goal);
        if let Some((at, why)) = requests.failed.first() {
            let last = requests.failed.last().map_or(*at, |(at, _)| *at);
            let why = why.lines().next().unwrap_or_default();
            eprintln!("    within {:.2?}, the first one: {why}", last - *at);
        }
    }
}
