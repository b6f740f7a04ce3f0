//! The promise, option by option, against a real Engine: a container is created with the option
//! from one release of an image, recreated on the next, and both are compared whole.
//!
//! `tests/fidelity/table.txt` is the table; this prints how many of its rows are kept.

#![expect(clippy::expect_used, reason = "a test that cannot set its stage ends there")]

#[path = "fidelity/engine.rs"]
mod engine;
#[path = "fidelity/stage.rs"]
mod stage;
#[path = "fidelity/subject.rs"]
mod subject;
#[path = "fidelity/table.rs"]
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};

use pilotfish::core::docker::api_version::ApiVersion;

use crate::engine::Engine;
use crate::subject::Subject;
use crate::table::{Row, rows};

/// How many rows are tried at the same time: an Engine mostly waits for the kernel.
const WORKERS: usize = 3;

#[test]
fn every_option_survives_an_update() {
    let engine = Engine::start();
    stage::set(&engine);
    let rows: Vec<Row> = rows().into_iter().filter(|row| fits(row, engine.api)).collect();
    let next = AtomicUsize::new(0);
    let lost: Vec<&str> = std::thread::scope(|scope| {
        let (rows, next, engine) = (&rows, &next, &engine);
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                scope.spawn(move || work(engine, &Subject::new(engine, number), rows, next))
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let kept = rows.len() - lost.len();
    println!("Engine {} (API {}): {kept}/{} kept", engine.version, engine.api, rows.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Tries one row after the other until none is left; the names of those that were lost.
fn work<'a>(
    engine: &Engine,
    subject: &Subject<'_>,
    rows: &'a [Row],
    next: &AtomicUsize,
) -> Vec<&'a str> {
    let mut lost = Vec::new();
    while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
        match subject.try_row(row) {
            Ok(()) => println!("kept  {}{}", row.name, row.level()),
            Err(why) => {
                let why = why.replace('\n', "\n      ");
                println!("LOST  {}{}\n      {why}", row.name, row.level());
                lost.push(row.name.as_str());
            }
        }
        subject.clear(engine);
    }
    lost
}

fn fits(row: &Row, api: ApiVersion) -> bool {
    let version = |text: &String| text.parse::<ApiVersion>().expect("a version in the table");
    row.api.as_ref().is_none_or(|from| version(from) <= api)
        && row.api_until.as_ref().is_none_or(|until| api <= version(until))
}
