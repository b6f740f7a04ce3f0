//! `pilotfish history`: the bounds of the history, and a torn line.

use std::fs::{self, OpenOptions};
use std::io::Write;

use chrono::{DateTime, TimeDelta};
use pilotfish::core::subject::Subject;
use pilotfish::core::update::history::{GroupRecord, Outcome, Record};
use pilotfish::journal::StateDirectory;
use serde_json::Value;

use crate::fixture::Fixture;
use crate::golden;

/// The documented bounds.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: u64 = 1024 * 1024;

/// A record of the history; the number is its minute.
pub fn record(id: &str, outcome: Outcome) -> Record {
    let minutes = TimeDelta::minutes(id.parse().expect("a number"));
    let well = outcome == Outcome::Updated;
    Record {
        by: None,
        id: id.into(),
        subject: Subject::container("till"),
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
        group: GroupRecord::default(),
    }
}

/// Adds the records to the history of the fixture.
pub fn write_history(fixture: &Fixture, records: impl IntoIterator<Item = Record>) {
    let state = StateDirectory::open(&fixture.path("state")).expect("the state directory");
    for record in records {
        state.record(&record).expect("the history");
    }
}

/// The IDs in `history --json`, newest first.
fn ids(fixture: &Fixture) -> Vec<String> {
    let output = fixture.command("history --json").output().expect("the program");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let updates = document["updates"].as_array().expect("updates").iter();
    updates.map(|update| update["id"].as_str().expect("an ID").to_owned()).collect()
}

#[test]
fn the_history_keeps_the_newest_records_up_to_its_count() {
    let fixture = Fixture::new("");
    let last = RECORDS_MAX + 10;
    let all = (1..=last).map(|number| record(&number.to_string(), Outcome::Updated));
    write_history(&fixture, all);

    let ids = ids(&fixture);

    assert!((RECORDS_MAX / 2..=RECORDS_MAX).contains(&ids.len()), "{} are kept", ids.len());
    let newest: Vec<_> = (1..=last).rev().take(ids.len()).map(|id| id.to_string()).collect();
    assert_eq!(ids, newest);
}

#[test]
fn the_history_keeps_the_newest_records_up_to_its_size() {
    let fixture = Fixture::new("");
    let long = vec!["x".repeat(1000); 40];
    let all = (1..=60).map(|number| Record {
        log: long.clone(),
        ..record(&number.to_string(), Outcome::RolledBack)
    });
    write_history(&fixture, all);

    let size = fs::metadata(fixture.path("state/history.jsonl")).expect("the file").len();
    assert!(size <= BYTES_MAX, "{size} bytes");
    assert_eq!(ids(&fixture)[0], "60");
}

#[test]
fn a_torn_last_line_loses_only_itself() {
    let fixture = Fixture::new("");
    write_history(&fixture, [record("1", Outcome::Updated), record("2", Outcome::RolledBack)]);
    let file = OpenOptions::new().append(true).open(fixture.path("state/history.jsonl"));
    file.expect("the file").write_all(b"{\"id\":\"3\",\"contai").expect("a torn line");

    let output = fixture.run_without_changes("history", &mut fixture.command("history"));
    golden::compare("history-torn", &output);
    write_history(&fixture, [record("4", Outcome::Updated)]);
    assert_eq!(ids(&fixture), ["4", "2", "1"]);
}

#[test]
fn a_name_without_a_history_has_none() {
    let fixture = Fixture::new("");
    write_history(&fixture, [record("1", Outcome::Updated)]);
    golden::compare(
        "history-nobody",
        &(fixture.run("history web") + &fixture.run("history web --json")),
    );
}
