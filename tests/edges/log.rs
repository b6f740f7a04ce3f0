//! The log of an update.

use std::time::Duration;

use pilotfish::core::subject::Subject;
use pilotfish::core::update::Step;
use pilotfish::core::update::event::{Event, EventSink};
use pilotfish::core::update::history::{Cause, Outcome, Record};
use pilotfish::telemetry::{Format, LogListener, subscriber};
use serde_json::{Value, json};
use tracing::Level;

use crate::fixtures::{digest, numbered, record};
use crate::golden::{Page, compare};

fn logged(format: Format, level: Level, colour: bool, speak: impl FnOnce()) -> String {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = subscriber(format, level, colour, move || writer.clone());
    tracing::subscriber::with_default(subscriber, speak);
    page.text()
}

/// One event of every kind, the last four as they end.
fn speak() {
    let till = || Subject::container("till");
    let step = Step::Switch;
    let ended = |outcome, reason| Event::UpdateEnded(Box::new(record("till", outcome, reason)));
    let updated = Record { gap_seconds: Some(0.5), ..record("till", Outcome::Updated, None) };
    for event in [
        Event::UpdateBegun {
            subject: till(),
            member: None,
            image: "shop/till:1".into(),
            from: None,
            to: digest("to"),
            dependents: vec!["drawer".into()],
        },
        Event::UpdateBegun {
            subject: Subject::group("shop"),
            member: Some("shop_api_1".into()),
            image: "shop/api:latest".into(),
            from: Some(digest("from")),
            to: digest("to"),
            dependents: Vec::new(),
        },
        Event::Continued { subject: till(), intent: "the next step is verify".into() },
        Event::StepBegun { subject: till(), step },
        Event::StepDone { subject: till(), step, took: Duration::from_millis(420) },
        Event::Pulled { registry: "shop.example:5000".into(), bytes: 4_100_000 },
        Event::FetchedAhead { subject: till(), to: digest("to") },
        Event::SelfUpdating { subject: till(), helper: "pilotfish-helper-till".into() },
        Event::RollingBack { subject: till(), cause: Cause::image("exited\nwith code 1") },
        Event::Warning { subject: Some(till()), detail: "\x1b[2Jold images stay".into() },
        Event::Warning { subject: None, detail: "the disk is slow".into() },
        Event::UpdateEnded(Box::new(updated)),
        ended(Outcome::RolledBack, Some("exited\nwith code 1")),
        ended(Outcome::Failed, Some("the pull broke off")),
        ended(Outcome::Stuck, Some("the port is in use")),
    ] {
        LogListener.receive(&numbered(event));
    }
}

/// Container names, labels, logs and messages of an Engine come from others.
#[test]
fn text_from_others_cannot_break_reorder_or_colour_a_log_line() {
    let hostile =
        "a\nINFO forged\u{1b}[31m\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}2J\u{202e}b\u{200b}c\r\u{2028}d";
    for (format, colour) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
        let speak = || {
            tracing::warn!(container = hostile, error = %hostile, "{hostile}: went wrong");
            LogListener.receive(&numbered(Event::Pulled { registry: hostile.into(), bytes: 1 }));
        };
        let log = logged(format, Level::INFO, colour, speak);
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(!log.contains("\u{1b}]") && !log.contains("\u{1b}[2J"), "{log:?}");
        for unseen in ['\r', '\u{7}', '\u{9b}', '\u{202e}', '\u{200b}', '\u{2028}'] {
            assert!(!log.contains(unseen), "{format:?} {unseen:?}: {log:?}");
        }
        assert!(colour || !log.contains('\u{1b}'), "{log:?}");
        if format == Format::Json {
            let line: Value =
                serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
            assert_eq!(line["container"], hostile);
        }
    }
}

/// The log without the time at the start of each line.
fn timeless(log: &str) -> String {
    let line = |line: &str| {
        let (time, rest) = line.split_once(' ').expect("a time");
        time.parse::<chrono::DateTime<chrono::Utc>>().expect("RFC 3339");
        format!("{rest}\n")
    };
    log.lines().map(line).collect()
}

#[test]
fn text_has_one_line_for_each_event() {
    compare("log-info", &timeless(&logged(Format::Auto, Level::INFO, false, speak)));
    compare("log-trace", &timeless(&logged(Format::Text, Level::TRACE, false, speak)));
}

#[test]
fn text_is_coloured_only_if_wanted() {
    assert!(!logged(Format::Text, Level::INFO, false, speak).contains('\x1b'));
    assert!(logged(Format::Text, Level::INFO, true, speak).contains('\x1b'));
}

#[test]
fn json_has_one_object_a_line_with_stable_fields() {
    let log = logged(Format::Json, Level::INFO, true, speak);
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let last = lines.last().expect("a line");
    assert_eq!(last["level"], "ERROR");
    assert_eq!(last["container"], "till");
    assert_eq!(last["outcome"], "stuck");
    assert_eq!(last["reason"], "the port is in use");
    assert_eq!(last["message"], "till: stuck: the port is in use");
    let begun = &lines[0];
    assert_eq!(begun["image"], "shop/till:1");
    assert_eq!(begun["to"], json!(digest("to").as_str()));
    assert_eq!(begun.get("from"), None);
    assert!(lines.iter().all(|line| line["target"] == "pilotfish::telemetry::log_listener"));
}

#[test]
fn other_crates_are_logged_only_for_warnings_and_errors() {
    let speak = || {
        tracing::info!(target: "hyper::proto", "a frame");
        tracing::warn!(target: "rustls", "a bad certificate");
        tracing::trace!(target: "pilotfish::agent", "a round");
    };
    let log = logged(Format::Text, Level::TRACE, false, speak);
    assert!(!log.contains("a frame"), "{log}");
    assert!(log.contains("a bad certificate") && log.contains("a round"), "{log}");
    assert_eq!(logged(Format::Text, Level::ERROR, false, speak), "");
}

#[test]
fn a_service_has_a_field_of_its_own() {
    let speak = || {
        let (subject, step) = (Subject::service("web"), Step::Pull);
        LogListener.receive(&numbered(Event::StepBegun { subject, step }));
    };
    let log = logged(Format::Json, Level::TRACE, false, speak);
    let line: Value = serde_json::from_str(&log).expect("JSON");
    assert_eq!((&line["service"], &line["message"]), (&json!("web"), &json!("service web: pull")));
    assert_eq!(line.get("container"), None);
}
