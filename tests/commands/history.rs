//! The history as `pilotfish history` tells it: within its bounds, and in spite of a torn line.

use std::fs::{self, OpenOptions};
use std::io::Write;

use chrono::{DateTime, TimeDelta};
use pilotfish::core::update::history::{Outcome, Record};
use pilotfish::journal::StateDirectory;
use serde_json::Value;

use crate::fixture::Stage;
use crate::golden;

/// The bounds that the documentation promises.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: u64 = 1024 * 1024;

/// A line of history; the number is its minute.
pub fn record(id: &str, outcome: Outcome) -> Record {
    let minutes = TimeDelta::minutes(id.parse().expect("a number"));
    let well = outcome == Outcome::Updated;
    Record {
        id: id.into(),
        container: "till".into(),
        image: "shop/till:1".into(),
        from: format!("sha256:{}", "a".repeat(64)).parse().ok(),
        to: format!("sha256:{}", "b".repeat(64)).parse().ok(),
        started_at: DateTime::UNIX_EPOCH + minutes,
        finished_at: DateTime::UNIX_EPOCH + minutes,
        outcome,
        tries: 1,
        reason: (!well).then(|| "exited with code 1".to_owned()),
        gap_seconds: Some(0.31),
        log: if well { Vec::new() } else { vec!["out of change".to_owned()] },
        dependents: Vec::new(),
    }
}

/// Writes these to the history of the stage.
pub fn remember(stage: &Stage, records: impl IntoIterator<Item = Record>) {
    let state = StateDirectory::open(&stage.path("state")).expect("the state directory");
    for record in records {
        state.record(&record).expect("the history");
    }
}

/// The IDs that `history --json` tells, newest first.
fn ids(stage: &Stage) -> Vec<String> {
    let output = stage.command("history --json").output().expect("the program");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let updates = document["updates"].as_array().expect("updates").iter();
    updates.map(|update| update["id"].as_str().expect("an ID").to_owned()).collect()
}

#[test]
fn the_history_keeps_the_newest_within_its_number() {
    let stage = Stage::new("");
    let last = RECORDS_MAX + 10;
    let all = (1..=last).map(|number| record(&number.to_string(), Outcome::Updated));
    remember(&stage, all);

    let ids = ids(&stage);

    assert!((RECORDS_MAX / 2..=RECORDS_MAX).contains(&ids.len()), "{} are kept", ids.len());
    let newest: Vec<_> = (1..=last).rev().take(ids.len()).map(|id| id.to_string()).collect();
    assert_eq!(ids, newest);
}

#[test]
fn the_history_keeps_the_newest_within_its_bytes() {
    let stage = Stage::new("");
    let long = vec!["x".repeat(1000); 40];
    let all = (1..=60).map(|number| Record {
        log: long.clone(),
        ..record(&number.to_string(), Outcome::RolledBack)
    });
    remember(&stage, all);

    let size = fs::metadata(stage.path("state/history.jsonl")).expect("the file").len();
    assert!(size <= BYTES_MAX, "{size} bytes");
    assert_eq!(ids(&stage)[0], "60");
}

#[test]
fn a_torn_last_line_costs_nothing_but_itself() {
    let stage = Stage::new("");
    remember(&stage, [record("1", Outcome::Updated), record("2", Outcome::RolledBack)]);
    let file = OpenOptions::new().append(true).open(stage.path("state/history.jsonl"));
    file.expect("the file").write_all(b"{\"id\":\"3\",\"contai").expect("a torn line");

    let told = stage.told_without_a_trace("history", &mut stage.command("history"));
    golden::compare("history-torn", &told);
    remember(&stage, [record("4", Outcome::Updated)]);
    assert_eq!(ids(&stage), ["4", "2", "1"]);
}

#[test]
fn a_name_without_a_history_has_none() {
    let stage = Stage::new("");
    remember(&stage, [record("1", Outcome::Updated)]);
    golden::compare(
        "history-nobody",
        &(stage.told("history web") + &stage.told("history web --json")),
    );
}
