//! The promise, option by option, on a real Engine: a container is created with the option from one
//! release of an image, recreated on the next, and both are compared completely.
//!
//! `tests/fidelity/table.txt` is the table, and `options.txt` ensures that no option is forgotten.
//! `make fidelity` runs it on every Engine and writes `docs/fidelity.md`.

#![expect(clippy::expect_used, reason = "a test that cannot set up its fixture ends there")]

#[expect(dead_code, reason = "other test programs use more of the support code")]
#[path = "../support/mod.rs"]
mod support;

mod engine;
mod options;
mod page;
mod peer;
mod podman;
mod record;
mod fixtures;
mod container;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::container::{Subject, Updater};
use crate::engine::Engine;
use crate::peer::Freshdock;
use crate::record::{AttemptResult, Outcome, Record};
use crate::table::{Row, rows};

/// The number of rows in parallel: an Engine mostly waits for the kernel.
const WORKERS: usize = 3;

/// The same for an updater that waits ten seconds and more for a healthy container.
const PEER_WORKERS: usize = 8;

#[test]
fn every_option_survives_an_update() {
    let engine = Engine::start();
    fixtures::set(&engine);
    options::assert_known(&engine);
    let record = try_all(&engine, &Updater::Pilotfish, WORKERS);
    record.keep();
    let lost = record.names(|outcome| matches!(outcome, Outcome::Lost(_)));
    assert!(lost.is_empty(), "lost: {lost:?}");
    // Podman lacks some options; the page names them. Docker's Engine has all options of the table.
    let not_offered = record.names(|outcome| matches!(outcome, Outcome::NotOffered(_)));
    assert!(engine.is_podman || not_offered.is_empty(), "not offered: {not_offered:?}");
}

/// The result of another updater on the same table and on this machine's Engine.
#[test]
#[ignore = "takes freshdock (`make fidelity` installs it) and ten minutes; it judges nothing here"]
fn what_freshdock_keeps() {
    let engine = Engine::start();
    fixtures::set(&engine);
    let freshdock = Freshdock::new(&engine, PEER_WORKERS);
    let record = try_all(&engine, &Updater::Freshdock(freshdock), PEER_WORKERS);
    record.keep();
    assert!(!record.rows.is_empty(), "no row was tried");
}

#[test]
#[ignore = "writes docs/fidelity.md from what the runs on all Engines have kept: `make fidelity`"]
fn write_the_page() {
    page::write();
}

fn try_all(engine: &Engine, updater: &Updater, workers: usize) -> Record {
    let fits = |row: &Row| row.fits(engine.api) && updater.can_try(row);
    let rows: Vec<Row> = rows().into_iter().filter(fits).collect();
    let next = AtomicUsize::new(0);
    let mut tried: Vec<(usize, AttemptResult)> = std::thread::scope(|scope| {
        let work = |number| {
            let subject = Subject::new(engine, updater, number);
            let (rows, next) = (&rows, &next);
            scope.spawn(move || work(&subject, rows, next))
        };
        let workers: Vec<_> = (0..workers).map(work).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    tried.sort_by_key(|(place, _)| *place);
    let rows = tried.into_iter().map(|(_, tried)| tried).collect();
    let record = Record { engine: engine.title.clone(), updater: updater.title(), rows };
    println!("{}", record.sentence());
    record
}

/// Runs rows until none is left; returns each with its place in the table.
fn work(subject: &Subject<'_>, rows: &[Row], next: &AtomicUsize) -> Vec<(usize, AttemptResult)> {
    let mut tried = Vec::new();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(row) = rows.get(place) else { return tried };
        let outcome = subject.try_row(row);
        subject.clear();
        println!("{}", outcome.line(&row.name, row.level()));
        let (name, group) = (row.name.clone(), row.group.clone());
        tried.push((place, AttemptResult { name, group, level: row.level().to_owned(), outcome }));
    }
}
