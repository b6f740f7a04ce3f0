//! Reports and records of a small fleet.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use pilotfish::core::decide::reason::Reason;
use pilotfish::core::decide::report::{Report, Verdict};
use pilotfish::core::decide::snapshot::{ActiveUpdate, FleetSnapshot, Snapshot};
use pilotfish::core::decide::versions::Versions;
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::subject::Subject;
use pilotfish::core::time::zone::Zone;
use pilotfish::core::update::event::{Event, NumberedEvent, Trigger};
use pilotfish::core::update::history::{GroupRecord, Outcome, Record};
use pilotfish::documents::ContainerRow;

pub fn digest(seed: &str) -> Digest {
    Digest::of(seed.as_bytes())
}

pub fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time in UTC")
}

/// The time zone of all pages.
pub fn berlin() -> Zone {
    Zone::named("Europe/Berlin").expect("a zone")
}

pub fn report(container: &str, image: &str, running: &str, offered: Option<&str>) -> Report {
    let is_new = offered.is_some_and(|offered| offered != running);
    Report {
        subject: Subject::container(container),
        image: image.into(),
        running: Some(digest(running)),
        offered: offered.map(digest),
        versions: Versions::default(),
        verdict: if is_new { Verdict::Update } else { Verdict::UpToDate },
        reason: None,
        detail: None,
        advice: None,
        no_rollback: None,
        drops: Vec::new(),
    }
}

pub fn no(report: Report, reason: Reason, detail: &str) -> Report {
    Report {
        verdict: if reason.is_error() { Verdict::Error } else { Verdict::Held },
        reason: Some(reason),
        detail: Some(detail.to_owned()).filter(|detail| !detail.is_empty()),
        advice: Some(reason.advice().replace("NAME", &report.subject.name)),
        ..report
    }
}

/// One report of every verdict, with names of every length.
pub fn reports() -> Vec<Report> {
    vec![
        report("till", "shop.example:5000/front/till:1", "till-1", Some("till-1")),
        report("web", "nginx:1.27", "web-1", Some("web-2")),
        no(
            report("db", "postgres:16", "db-1", Some("db-2")),
            Reason::OutsideWindow,
            "the update window opens Sat 21 Nov 04:00",
        ),
        no(
            report(
                "home-automation",
                "ghcr.io/home-automation/server/stable:2026.11",
                "ha-1",
                None,
            ),
            Reason::RegistryUnauthorized,
            "ghcr.io answered 401 Unauthorized to HEAD /v2/home-automation/server/stable/manifests/2026.11",
        ),
        no(report("local", "sketch:dev", "local", None), Reason::BuiltLocally, ""),
    ]
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        reports: reports(),
        last_check: Some(time("2026-11-20T12:00:00.250Z")),
        last_success: Some(time("2026-11-20T11:45:00Z")),
        is_ready: true,
        in_flight: vec![ActiveUpdate { subject: Subject::container("web"), step: None }],
        stuck: vec![Subject::container("lamp")],
        refused: BTreeMap::from([(Subject::container("db"), 2), (Subject::container("gone"), 1)]),
        fleet: Some(FleetSnapshot {
            verdicts: Vec::new(),
            stopped_since: Some(DateTime::UNIX_EPOCH - TimeDelta::seconds(90)),
            discovery_left: None,
            places: BTreeMap::from([(Subject::container("web"), 3)]),
        }),
        ..Snapshot::default()
    }
}

pub fn record(container: &str, outcome: Outcome, reason: Option<&str>) -> Record {
    Record {
        by: None,
        id: format!("20261120T120000.000Z-{container}"),
        subject: Subject::container(container),
        image: format!("shop.example:5000/front/{container}:1"),
        from: Some(digest("from")),
        to: Some(digest("to")),
        started_at: time("2026-11-20T12:00:00Z"),
        finished_at: time("2026-11-20T12:00:41Z"),
        outcome,
        tries: 1,
        reason: reason.map(ToOwned::to_owned),
        gap_seconds: None,
        log: Vec::new(),
        dependents: Vec::new(),
        group: GroupRecord::default(),
    }
}

/// One record of every outcome, newest first.
pub fn records() -> Vec<Record> {
    let mut records = vec![
        Record {
            gap_seconds: Some(3.2345),
            log: vec![
                "starting till 3.0".into(),
                "panic: no such table: prices\x1b[2J, and a very long line that goes on about it"
                    .into(),
            ],
            ..record(
                "till",
                Outcome::RolledBack,
                Some("the new container exited with code 1 after 0.3 s"),
            )
        },
        Record { gap_seconds: Some(0.312), ..record("web", Outcome::Updated, None) },
        Record {
            from: None,
            ..record(
                "home-automation",
                Outcome::Failed,
                Some("the registry broke off the pull\nat layer 3"),
            )
        },
        record("db", Outcome::Interrupted, Some("the machine was restarted")),
        record("lamp", Outcome::Stuck, Some("the old container cannot be started: port in use")),
    ];
    for (record, day) in records.iter_mut().zip((16..=20).rev()) {
        record.started_at = time(&format!("2026-11-{day}T03:30:00Z"));
        record.finished_at = time(&format!("2026-11-{day}T03:31:05.5Z"));
    }
    records
}

/// An event as the agent passes it on.
pub fn numbered(event: Event) -> NumberedEvent {
    let (at, trigger) = (DateTime::UNIX_EPOCH, Trigger::Schedule);
    NumberedEvent { number: 1, at, trigger, event }
}

/// The rows of these reports.
pub fn rows(reports: &[Report]) -> Vec<ContainerRow> {
    reports.iter().map(ContainerRow::from).collect()
}
