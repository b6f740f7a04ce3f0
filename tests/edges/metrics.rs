//! The metrics page. The table mirrors the documentation of the metrics: a shipped name stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};
use pilotfish::core::decide::report::Report;
use pilotfish::core::decide::snapshot::Snapshot;
use pilotfish::core::docker::reference::{Digest, Reference};
use pilotfish::core::mirror::refusal::CopyError;
use pilotfish::core::mirror::rule::MirrorRule;
use pilotfish::core::service::task::TaskCounts;
use pilotfish::core::subject::Subject;
use pilotfish::core::update::event::{Event, EventSink};
use pilotfish::core::update::history::{Outcome, Record};
use pilotfish::metrics::{Metrics, catalogue};
use pilotfish::mirror::{MirrorEvent, MirrorListener, RuleReport, TagOutcome, TagReport};

use crate::fixtures::{numbered, record, report, snapshot};
use crate::golden;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

const DOCUMENTED: [(&str, &str, &[&str]); 30] = [
    ("pilotfish_build_info", "gauge", &["version", "target"]),
    ("pilotfish_checks_total", "counter", &["outcome"]),
    ("pilotfish_check_duration_seconds", "histogram", &[]),
    ("pilotfish_last_check_timestamp_seconds", "gauge", &[]),
    ("pilotfish_last_success_timestamp_seconds", "gauge", &[]),
    (
        "pilotfish_container_info",
        "gauge",
        &["container", "image", "running_digest", "offered_digest", "verdict", "reason"],
    ),
    ("pilotfish_update_available", "gauge", &["container"]),
    ("pilotfish_updates_total", "counter", &["container", "outcome"]),
    ("pilotfish_service_gap_seconds", "histogram", &[]),
    ("pilotfish_refused_digests", "gauge", &["container"]),
    ("pilotfish_registry_requests_total", "counter", &["registry", "code"]),
    ("pilotfish_registry_rate_limit_remaining", "gauge", &["registry"]),
    ("pilotfish_webhooks_total", "counter", &["sender", "outcome"]),
    ("pilotfish_pulled_bytes_total", "counter", &["registry"]),
    ("pilotfish_update_in_flight", "gauge", &[]),
    ("pilotfish_stuck", "gauge", &[]),
    ("pilotfish_service_down", "gauge", &["container"]),
    ("pilotfish_mqtt_connected", "gauge", &[]),
    ("pilotfish_mqtt_reconnects_total", "counter", &[]),
    ("pilotfish_mqtt_refused_total", "counter", &["reason"]),
    ("pilotfish_rollout_place", "gauge", &["container"]),
    ("pilotfish_fleet_stopped_seconds", "gauge", &[]),
    (
        "pilotfish_service_info",
        "gauge",
        &["service", "image", "running_digest", "offered_digest", "verdict", "reason"],
    ),
    ("pilotfish_service_updates_total", "counter", &["service", "outcome"]),
    ("pilotfish_service_tasks", "gauge", &["service", "state"]),
    ("pilotfish_push_requests_total", "counter", &["deployment", "act", "outcome"]),
    ("pilotfish_mirror_bytes_total", "counter", &["rule"]),
    ("pilotfish_mirror_copied_total", "counter", &["rule", "outcome"]),
    ("pilotfish_mirror_lag_seconds", "gauge", &["rule"]),
    ("pilotfish_mirror_last_success_timestamp_seconds", "gauge", &["rule"]),
];

fn rule(name: &str) -> MirrorRule {
    let repository = |text: &str| text.parse::<Reference>().expect("a reference").into();
    let rule = MirrorRule::new(repository("table/till"), repository("registry:443/table/till"));
    MirrorRule { name: name.to_owned(), ..rule }
}

/// A tag that was copied, or refused, and the end of its rule.
fn mirrored(metrics: &Metrics, rule: &MirrorRule, outcome: Result<TagOutcome, CopyError>) {
    let report = TagReport { tag: "v1".to_owned(), outcome };
    let took = Duration::from_secs(1);
    let ended = MirrorEvent::TagEnded { report: &report, received: 4_100_000, took };
    MirrorListener::event(metrics, rule, &ended);
    let report = RuleReport { tags: vec![report], ..RuleReport::default() };
    let at = DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
    MirrorListener::event(metrics, rule, &MirrorEvent::RuleEnded { report: &report, at });
}

#[test]
fn rules_of_the_mirror_come_and_go_and_a_failure_is_a_lag() {
    let metrics = Metrics::new().expect("the catalogue is valid");
    assert!(!metrics.render(&snapshot(), NOW).contains("mirror"));
    let [till, web] = [rule("till"), rule("web")];
    metrics.follow_mirror([&till, &web].into_iter());
    mirrored(&metrics, &web, Err(CopyError::nonsense("x")));
    std::thread::sleep(Duration::from_millis(2));
    let page = metrics.render(&snapshot(), NOW);
    assert!(page.contains("pilotfish_mirror_lag_seconds{rule=\"till\"} 0\n"), "{page}");
    assert!(!page.contains("pilotfish_mirror_lag_seconds{rule=\"web\"} 0\n"), "{page}");
    assert!(page.contains("_copied_total{outcome=\"failed\",rule=\"web\"} 1"), "{page}");
    mirrored(&metrics, &web, Ok(TagOutcome::UpToDate));
    metrics.follow_mirror([&web].into_iter());
    let page = metrics.render(&snapshot(), NOW);
    assert!(page.contains("pilotfish_mirror_lag_seconds{rule=\"web\"} 0\n"), "{page}");
    assert!(
        page.contains("_copied_total{outcome=\"failed\",rule=\"web\"} 1"),
        "it is kept: {page}"
    );
    assert!(!page.contains("rule=\"till\""), "{page}");
}

/// Metrics with a value in every counter.
fn busy() -> Metrics {
    let metrics = Metrics::new().expect("the catalogue is valid");
    metrics.round(true, Duration::from_millis(300));
    metrics.round(false, Duration::from_secs(31));
    metrics.request("docker.io", "200");
    metrics.request("docker.io", "429");
    metrics.rate_limit_remaining("docker.io", 97);
    metrics.webhook("ghcr", "accepted");
    metrics.push_request("till", "load", "updated");
    metrics.webhook("", "unauthorized");
    metrics.mqtt_connected(true);
    metrics.mqtt_refused("not_json");
    let rule = rule("till");
    metrics.follow_mirror([&rule].into_iter());
    let digest = Digest::of(b"till");
    mirrored(&metrics, &rule, Ok(TagOutcome::Copied { digest, is_whole: true }));
    metrics.receive(&numbered(Event::Pulled { registry: "docker.io".into(), bytes: 4_100_000 }));
    let updated = Record { gap_seconds: Some(0.3), ..record("web", Outcome::Updated, None) };
    metrics.receive(&numbered(Event::UpdateEnded(Box::new(updated))));
    metrics.receive(&numbered(Event::UpdateEnded(Box::new(record("gone", Outcome::Failed, None)))));
    let service =
        Record { subject: Subject::service("web"), ..record("web", Outcome::RolledBack, None) };
    metrics.receive(&numbered(Event::UpdateEnded(Box::new(service))));
    metrics
}

/// A snapshot of a manager, with a service of the Swarm beside the containers.
fn with_service() -> Snapshot {
    let mut snapshot = snapshot();
    let web = report("web", "till:latest@sha256:1", "till-1", Some("till-2"));
    snapshot.reports.push(Report { subject: Subject::service("web"), ..web });
    let tasks = TaskCounts::from([("running", 2), ("pending", 1)]);
    snapshot.service_tasks.insert("web".to_owned(), tasks);
    snapshot
}

/// Samples as name, label names without values, and the rest, for pages without hostile labels.
fn label_names(page: &str) -> BTreeMap<&str, BTreeSet<String>> {
    let mut names: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a sample"));
        let labels = rest.split('"').step_by(2).filter_map(|part| part.strip_suffix('='));
        let labels = labels.map(|label| label.trim_start_matches(['{', ',']).to_owned());
        names.entry(name).or_default().extend(labels);
    }
    names
}

#[test]
fn every_documented_metric_is_scraped_and_no_other() {
    let page = busy().render(&with_service(), NOW);
    let labels = label_names(&page);
    let types: BTreeMap<_, _> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let documented: BTreeMap<_, _> =
        DOCUMENTED.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    assert_eq!(types, documented);
    for (name, kind, expected) in DOCUMENTED {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.to_owned() };
        let expected: BTreeSet<_> = expected.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(labels[sample.as_str()], expected, "{name}");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
}

#[test]
fn the_catalogue_equals_the_documentation() {
    let catalogue: Vec<_> = catalogue::ALL
        .iter()
        .map(|metric| (metric.name, metric.kind.word(), metric.labels))
        .collect();
    assert_eq!(catalogue, DOCUMENTED);
}

#[test]
fn a_whole_page_looks_like_this() {
    let page = busy().render(&with_service(), NOW);
    let version = env!("CARGO_PKG_VERSION");
    let (before, after) = page.split_once("pilotfish_build_info{").expect("build info");
    let (build, after) = after.split_once('\n').expect("its end");
    assert!(build.starts_with(&format!("version=\"{version}\",target=\"")), "{build}");
    golden::compare("metrics", &format!("{before}pilotfish_build_info{{…\n{after}"));
}

/// A container and a service of one name are told apart.
#[test]
fn services_have_series_of_their_own() {
    let page = busy().render(&with_service(), NOW);
    for series in [
        "pilotfish_service_tasks{service=\"web\",state=\"running\"} 2\n",
        "pilotfish_service_updates_total{service=\"web\",outcome=\"rolled_back\"} 1\n",
        "pilotfish_updates_total{container=\"web\",outcome=\"rolled_back\"} 0\n",
    ] {
        assert!(page.contains(series), "{series}{page}");
    }
    let without = busy().render(&snapshot(), NOW);
    for name in ["service_info", "service_tasks", "service_updates_total"] {
        assert!(!without.contains(name), "{without}");
    }
}

#[test]
fn the_series_of_a_container_that_is_gone_disappear() {
    let metrics = busy();
    let with = metrics.render(&snapshot(), NOW);
    assert!(with.contains("container=\"web\"") && !with.contains("container=\"gone\""), "{with}");
    let mut later = snapshot();
    later.reports.retain(|report| report.subject.name != "web");
    later.in_flight.clear();
    let without = metrics.render(&later, NOW);
    assert!(!without.contains("\"web\""), "{without}");
    assert!(without.contains("pilotfish_update_in_flight 0\n"), "{without}");
}

#[test]
fn a_counter_outlives_the_absence_of_its_container() {
    let metrics = busy();
    let series = "pilotfish_updates_total{container=\"web\",outcome=\"updated\"} 1\n";
    assert!(!metrics.render(&Snapshot::default(), NOW).contains("pilotfish_updates_total"));
    assert!(metrics.render(&snapshot(), NOW).contains(series));
}

#[test]
fn outcomes_that_never_happened_are_zero_so_that_the_first_one_is_visible() {
    let page = busy().render(&snapshot(), NOW);
    for outcome in ["rolled_back", "failed", "interrupted", "stuck"] {
        let series =
            format!("pilotfish_updates_total{{container=\"web\",outcome=\"{outcome}\"}} 0\n");
        assert!(page.contains(&series), "{series}");
    }
}

/// Names that no Engine allows today, and a hostile image reference.
fn hostile() -> Snapshot {
    let names = ["a\"b", "back\\slash", "new\nline 1", "}{=,#", "süß\u{1b}[2J", "", "a\"b"];
    let reports = names.map(|name| report(name, "evil\"} 1\nup 1", "one", Some("two")));
    Snapshot { reports: reports.into(), ..snapshot() }
}

#[test]
fn hostile_names_are_escaped_and_no_series_is_repeated() {
    let page = busy().render(&hostile(), NOW);
    assert!(page.contains(r#"pilotfish_update_available{container="a\"b"} 1"#), "{page}");
    assert!(page.contains(r#"pilotfish_update_available{container="back\\slash"} 1"#), "{page}");
    assert!(page.contains(r#"pilotfish_update_available{container="new\nline 1"} 1"#), "{page}");
    assert!(page.contains(r#"image="evil\"} 1\nup 1""#), "{page}");
    assert!(!page.lines().any(|line| line == "up 1"), "{page}");
    let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let distinct: BTreeSet<_> = samples.iter().collect();
    assert_eq!(samples.len(), distinct.len());
}

/// The result and the output of `promtool check metrics`; no output means no finding.
fn promtool(page: &str) -> (bool, String) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed for this test: install Debian's package `prometheus`");
    let mut stdin = promtool.stdin.take().expect("its standard input");
    stdin.write_all(page.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn promtool_accepts_the_page() {
    let fresh = Metrics::new().expect("the catalogue is valid").render(&Snapshot::default(), NOW);
    let pages = [
        ("fresh", fresh),
        ("busy", busy().render(&snapshot(), NOW)),
        ("hostile", busy().render(&hostile(), NOW)),
    ];
    for (name, page) in pages {
        assert_eq!(promtool(&page), (true, String::new()), "{name}: {page}");
    }
}

#[test]
fn before_the_first_round_times_are_zero_and_not_missing() {
    let page = Metrics::new().expect("the catalogue is valid").render(&Snapshot::default(), NOW);
    assert!(page.contains("pilotfish_last_success_timestamp_seconds 0\n"), "{page}");
    assert!(page.contains("pilotfish_checks_total{outcome=\"failed\"} 0\n"), "{page}");
}

#[test]
fn a_service_has_no_series_of_a_container() {
    let mut snapshot = snapshot();
    let service = Subject::service("shop");
    snapshot.reports[0].subject = service.clone();
    snapshot.down = vec![service.clone()];
    let metrics = Metrics::new().expect("metrics");
    let ended = Record { subject: service, ..record("shop", Outcome::Updated, None) };
    metrics.receive(&numbered(Event::UpdateEnded(Box::new(ended))));
    let page = metrics.render(&snapshot, NOW);
    assert!(page.contains("container=\"web\"") && page.contains("service=\"shop\""), "{page}");
    assert!(!page.contains("container=\"shop\""), "{page}");
}
