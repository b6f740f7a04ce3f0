//! The gauges that describe the present, made from the snapshot at every scrape.
//!
//! Nothing is kept between two scrapes, so the series of a removed container disappear, and two
//! simultaneous scrapes cannot disturb each other.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::core::decide::report::Report;
use crate::core::decide::snapshot::Snapshot;
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::core::update::history::Outcome;
use crate::metrics::catalogue::{self, Description, MetricKind};

/// A metric's values by the values of its labels. A map, because Prometheus rejects a whole scrape
/// with a duplicate series.
type Series = BTreeMap<Vec<String>, f64>;

/// All families from the snapshot. `updates` counts the updates of a container by outcome,
/// `service_updates` those of a service: these counters are shown for what is watched now.
pub fn families(
    snapshot: &Snapshot,
    now: DateTime<Utc>,
    updates: impl Fn(&str, Outcome) -> u64,
    service_updates: impl Fn(&str, Outcome) -> u64,
) -> Vec<MetricFamily> {
    let services = || snapshot.reports.iter().filter_map(of_service);
    let containers = || snapshot.reports.iter().filter_map(of_container);
    let alone = |value: f64| Series::from([(Vec::new(), value)]);
    let described = [
        (catalogue::BUILD_INFO, Series::from([(build(), 1.0)])),
        (catalogue::LAST_CHECK, alone(seconds(snapshot.last_check))),
        (catalogue::LAST_SUCCESS, alone(seconds(snapshot.last_success))),
        (catalogue::CONTAINER_INFO, containers().map(|it| (info(it), 1.0)).collect()),
        (catalogue::UPDATE_AVAILABLE, containers().map(available).collect()),
        (catalogue::UPDATES, ended(containers(), updates)),
        (catalogue::REFUSED_DIGESTS, refused(containers(), snapshot)),
        (catalogue::UPDATE_IN_FLIGHT, alone(number(snapshot.in_flight.len()))),
        (catalogue::STUCK, alone(number(snapshot.stuck.len()))),
        (catalogue::SERVICE_DOWN, down(containers(), snapshot)),
        (catalogue::SERVICE_INFO, services().map(|it| (info(it), 1.0)).collect()),
        (catalogue::SERVICE_UPDATES, ended(services(), service_updates)),
        (catalogue::SERVICE_TASKS, tasks(snapshot)),
        (catalogue::ROLLOUT_PLACE, places(containers(), snapshot)),
        (catalogue::FLEET_STOPPED, stopped(snapshot, now)),
    ];
    described.into_iter().filter_map(|(what, series)| family(&what, series)).collect()
}

fn places<'a>(
    containers: impl Iterator<Item = (&'a str, &'a Report)>,
    snapshot: &Snapshot,
) -> Series {
    let places = snapshot.fleet.as_ref().map(|fleet| &fleet.places);
    let place = |(container, report): (&str, &Report)| {
        Some((vec![container.to_owned()], f64::from(*places?.get(&report.subject)?)))
    };
    containers.filter_map(place).collect()
}

fn stopped(snapshot: &Snapshot, now: DateTime<Utc>) -> Series {
    let since = snapshot.fleet.as_ref().and_then(|fleet| fleet.stopped_since);
    let seconds = since.map(|since| (now - since).as_seconds_f64().max(0.0));
    seconds.map(|seconds| (Vec::new(), seconds)).into_iter().collect()
}

fn build() -> Vec<String> {
    vec![env!("CARGO_PKG_VERSION").to_owned(), target()]
}

/// The target of this build, such as `aarch64-linux-musl` or `arm-linux-musleabihf`.
fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let abi = if cfg!(target_abi = "eabihf") { "eabihf" } else { "" };
    format!("{}-{}-{libc}{abi}", std::env::consts::ARCH, std::env::consts::OS)
}

/// A report on a service, with its name for the label `service`.
fn of_service(report: &Report) -> Option<(&str, &Report)> {
    Some((report.subject.service_name()?, report))
}

fn tasks(snapshot: &Snapshot) -> Series {
    let tasks = snapshot.service_tasks.iter().flat_map(|(service, counts)| {
        let series = move |(state, count): (&&str, &usize)| {
            (vec![service.clone(), (*state).to_owned()], number(*count))
        };
        counts.iter().map(series)
    });
    tasks.collect()
}

/// A report on a container, with its name for the label `container`.
fn of_container(report: &Report) -> Option<(&str, &Report)> {
    Some((report.subject.container_name()?, report))
}

fn info((container, report): (&str, &Report)) -> Vec<String> {
    let digest = |digest: &Option<Digest>| digest.as_ref().map_or("", Digest::as_str).to_owned();
    vec![
        container.to_owned(),
        report.image.clone(),
        digest(&report.running),
        digest(&report.offered),
        report.verdict.word().to_owned(),
        report.reason.map_or("", |reason| reason.word()).to_owned(),
    ]
}

fn available((container, report): (&str, &Report)) -> (Vec<String>, f64) {
    (vec![container.to_owned()], truth(report.is_update_available()))
}

/// Every outcome of every watched container, also those that never happened: `increase()` does not
/// see the first event of a series that begins with it.
fn ended<'a>(
    containers: impl Iterator<Item = (&'a str, &'a Report)>,
    updates: impl Fn(&str, Outcome) -> u64,
) -> Series {
    let mut series = Series::new();
    for (container, _) in containers {
        for outcome in Outcome::ALL {
            let labels = vec![container.to_owned(), outcome.word().to_owned()];
            series.insert(labels, whole(updates(container, outcome)));
        }
    }
    series
}

/// One series for every watched container; other remembered containers are not shown.
fn refused<'a>(
    containers: impl Iterator<Item = (&'a str, &'a Report)>,
    snapshot: &Snapshot,
) -> Series {
    let count = |report: &Report| snapshot.refused.get(&report.subject).copied().unwrap_or(0);
    containers.map(|(name, report)| (vec![name.to_owned()], number(count(report)))).collect()
}

/// One series for every watched container, and for a service whose name no container has now.
fn down<'a>(
    containers: impl Iterator<Item = (&'a str, &'a Report)>,
    snapshot: &Snapshot,
) -> Series {
    let series = |name: &str, is_down| (vec![name.to_owned()], truth(is_down));
    let watched = containers.map(|(name, _)| series(name, false));
    let down = snapshot.down.iter().filter_map(Subject::container_name);
    watched.chain(down.map(|name| series(name, true))).collect()
}

fn seconds(time: Option<DateTime<Utc>>) -> f64 {
    time.map_or(0.0, |time| time.timestamp_millis() as f64 / 1000.0)
}

const fn truth(is_true: bool) -> f64 {
    if is_true { 1.0 } else { 0.0 }
}

fn number(count: usize) -> f64 {
    whole(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Prometheus knows only `f64`, which is exact up to 2^53.
const fn whole(count: u64) -> f64 {
    count as f64
}

/// The family of a description; `None` if it has no series, because the encoder refuses empty ones.
fn family(what: &Description, series: Series) -> Option<MetricFamily> {
    if series.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(what.name.to_owned());
    family.set_help(what.help.to_owned());
    family.set_field_type(match what.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge | MetricKind::Histogram => MetricType::GAUGE,
    });
    let metrics = series.into_iter().map(|(labels, value)| metric(what, labels, value));
    family.set_metric(metrics.collect());
    Some(family)
}

fn metric(what: &Description, labels: Vec<String>, value: f64) -> Metric {
    let pairs = what.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value);
        pair
    });
    let mut metric = Metric::from_label(pairs.collect());
    if what.kind == MetricKind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
