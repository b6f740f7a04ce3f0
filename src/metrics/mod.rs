//! Layer 3: the metrics that Prometheus scrapes.
//!
//! Counters and histograms are kept here; gauges that describe the present are made from the
//! snapshot at every scrape. There are no globals: code that counts gets these [`Metrics`].

pub mod catalogue;
mod mirror;
mod mqtt;
mod present;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::core::Collector;
use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::core::decide::snapshot::Snapshot;
use crate::core::mirror::rule::MirrorRule;
use crate::core::update::event::{Event, EventSink, NumberedEvent};
use crate::core::update::history::{Outcome, Record};
use crate::metrics::catalogue::Description;
use crate::metrics::mirror::MirrorMetrics;
use crate::metrics::mqtt::MqttMetrics;
use crate::mirror::{MirrorEvent, MirrorListener};

/// Upper bounds for the length of a round, in seconds: one container on the local network takes
/// tens of milliseconds, a registry that times out takes minutes.
const CHECK_DURATION_BUCKETS: [f64; 11] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Upper bounds for a service gap, in seconds: a container that stops when asked is down for part
/// of a second, Docker kills one that does not stop after ten, and a bad image is given up after
/// `health.timeout`, a minute by default.
const SERVICE_GAP_BUCKETS: [f64; 13] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// Most registries with series of their own; no Pi asks that many.
const REGISTRIES_MAX: usize = 100;

/// The label of all further registries.
const OTHER_REGISTRIES: &str = "other";

/// All counters and histograms.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: IntCounterVec,
    check_duration: Histogram,
    /// Not in the registry: which of its series are shown depends on the watched containers.
    updates: IntCounterVec,
    /// The same of services.
    service_updates: IntCounterVec,
    service_gap: Histogram,
    registry_requests: IntCounterVec,
    rate_limit_remaining: GaugeVec,
    pulled_bytes: IntCounterVec,
    mqtt: MqttMetrics,
    mirror: MirrorMetrics,
    webhooks: IntCounterVec,
    push_requests: IntCounterVec,
    /// The registries that have series.
    registries: Mutex<BTreeSet<String>>,
}

impl Metrics {
    /// Metrics at zero, in a separate registry.
    ///
    /// # Errors
    /// Never in practice: a name or a label of the [`catalogue`] that Prometheus does not allow.
    pub fn new() -> Result<Self, Error> {
        let metrics = Self {
            registry: Registry::new(),
            checks: counter(&catalogue::CHECKS)?,
            check_duration: histogram(&catalogue::CHECK_DURATION, &CHECK_DURATION_BUCKETS)?,
            updates: counter(&catalogue::UPDATES)?,
            service_updates: counter(&catalogue::SERVICE_UPDATES)?,
            service_gap: histogram(&catalogue::SERVICE_GAP, &SERVICE_GAP_BUCKETS)?,
            registry_requests: counter(&catalogue::REGISTRY_REQUESTS)?,
            rate_limit_remaining: gauge(&catalogue::RATE_LIMIT_REMAINING)?,
            pulled_bytes: counter(&catalogue::PULLED_BYTES)?,
            mqtt: MqttMetrics::new()?,
            mirror: MirrorMetrics::new()?,
            webhooks: counter(&catalogue::WEBHOOKS)?,
            push_requests: counter(&catalogue::PUSH_REQUESTS)?,
            registries: Mutex::default(),
        };
        metrics.register()?;
        // Both outcomes exist from the start, so that the first failure is seen as a rise.
        for outcome in ["ok", "failed"] {
            metrics.checks.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    fn register(&self) -> Result<(), Error> {
        let collectors: [Box<dyn Collector>; 8] = [
            Box::new(self.checks.clone()),
            Box::new(self.check_duration.clone()),
            Box::new(self.service_gap.clone()),
            Box::new(self.registry_requests.clone()),
            Box::new(self.rate_limit_remaining.clone()),
            Box::new(self.pulled_bytes.clone()),
            Box::new(self.webhooks.clone()),
            Box::new(self.push_requests.clone()),
        ];
        collectors.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// Counts a round; `ok` if every container could be checked.
    pub fn round(&self, ok: bool, took: Duration) {
        self.checks.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
        self.check_duration.observe(took.as_secs_f64());
    }

    /// Counts a request to a registry: with an HTTP status, or with a word if there is none.
    pub fn request(&self, registry: &str, code: &str) {
        self.registry_requests.with_label_values(&[self.series(registry), code]).inc();
    }

    /// Sets what is left of a registry's quota, from its last answer.
    pub fn rate_limit_remaining(&self, registry: &str, remaining: u64) {
        self.rate_limit_remaining.with_label_values(&[self.series(registry)]).set(remaining as f64);
    }

    /// Sets whether there is a connection to the broker. From the first call on the metrics of the
    /// broker are shown.
    pub fn mqtt_connected(&self, is_connected: bool) {
        self.mqtt.show(&self.registry);
        self.mqtt.connected(is_connected);
    }

    /// Counts what the broker refused, or what this device ignored.
    pub fn mqtt_refused(&self, reason: &str) {
        self.mqtt.refused(reason);
    }

    /// Shows the metrics of these rules of the mirror, and of no others.
    pub fn follow_mirror<'a>(&self, rules: impl Iterator<Item = &'a MirrorRule>) {
        self.mirror.follow(&self.registry, rules);
    }

    /// Counts a webhook. The senders are those of the configuration, so there are few series.
    pub fn webhook(&self, sender: &str, outcome: &str) {
        self.webhooks.with_label_values(&[sender, outcome]).inc();
    }

    /// Counts a request of the push API. The deployments are those of the configuration, or empty.
    pub fn push_request(&self, deployment: &str, act: &str, outcome: &str) {
        self.push_requests.with_label_values(&[deployment, act, outcome]).inc();
    }

    /// The label of a registry: its name, if it is one of the first.
    fn series<'a>(&self, registry: &'a str) -> &'a str {
        let mut known = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(registry) {
            return registry;
        }
        if known.len() >= REGISTRIES_MAX {
            return OTHER_REGISTRIES;
        }
        known.insert(registry.to_owned());
        registry
    }

    /// All metrics in the text format of Prometheus, version 0.0.4, ordered by name.
    #[must_use]
    pub fn render(&self, snapshot: &Snapshot, now: DateTime<Utc>) -> String {
        let updates = |container: &str, outcome: Outcome| {
            self.updates.with_label_values(&[container, outcome.word()]).get()
        };
        self.mirror.measure_lag();
        let mut families = self.registry.gather();
        let service_updates = |service: &str, outcome: Outcome| {
            self.service_updates.with_label_values(&[service, outcome.word()]).get()
        };
        families.extend(present::families(snapshot, now, updates, service_updates));
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::error!(%error, "the metrics could not be written in full");
        }
        text
    }

    fn ended(&self, record: &Record) {
        let outcome = record.outcome.word();
        match record.subject.service_name() {
            Some(service) => self.service_updates.with_label_values(&[service, outcome]).inc(),
            // A group counts as its members that got a new image.
            None => record.images().for_each(|(subject, ..)| {
                self.updates.with_label_values(&[subject.name.as_str(), outcome]).inc();
            }),
        }
        // A stuck update ends later, with its whole gap.
        let gap = record.gap_seconds.filter(|_| record.outcome != Outcome::Stuck);
        if let Some(gap) = gap {
            self.service_gap.observe(gap);
        }
    }
}

impl MirrorListener for Metrics {
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        self.mirror.event(rule, event);
    }
}

impl EventSink for Metrics {
    fn receive(&self, event: &NumberedEvent) {
        match &event.event {
            Event::UpdateEnded(record) => self.ended(record),
            Event::Pulled { registry, bytes } => {
                self.pulled_bytes.with_label_values(&[self.series(registry)]).inc_by(*bytes);
            }
            _ => {}
        }
    }
}

fn counter(what: &Description) -> Result<IntCounterVec, Error> {
    IntCounterVec::new(Opts::new(what.name, what.help), what.labels)
}

fn gauge(what: &Description) -> Result<GaugeVec, Error> {
    GaugeVec::new(Opts::new(what.name, what.help), what.labels)
}

fn histogram(what: &Description, buckets: &[f64]) -> Result<Histogram, Error> {
    Histogram::with_opts(HistogramOpts::new(what.name, what.help).buckets(buckets.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_do_not_fill_the_page() {
        let metrics = Metrics::new().expect("metrics");
        for number in 0..REGISTRIES_MAX * 3 {
            metrics.request(&format!("registry-{number}"), "200");
        }
        let page = metrics.render(&Snapshot::default(), DateTime::UNIX_EPOCH);
        let series = page.matches("pilotfish_registry_requests_total{").count();
        assert_eq!(series, REGISTRIES_MAX + 1);
        let others = format!("registry=\"other\"}} {}", REGISTRIES_MAX * 2);
        assert!(page.contains(&others), "{page}");
    }
}
