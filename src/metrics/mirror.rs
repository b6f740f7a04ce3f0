//! The metrics of the mirror. Without a rule none is shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Error, GaugeVec, IntCounterVec, Registry};

use super::{catalogue, counter, gauge};
use crate::core::mirror::rule::MirrorRule;
use crate::mirror::{MirrorEvent, TagOutcome, TagReport};

/// The outcomes of a tag that are counted. A tag that is up to date is none.
const OUTCOMES: [&str; 3] = ["copied", "documents_copied", "failed"];

/// Counters and gauges by rule.
#[derive(Debug)]
pub(super) struct MirrorMetrics {
    bytes: IntCounterVec,
    copied: IntCounterVec,
    lag: GaugeVec,
    last_success: GaugeVec,
    shown: Once,
    /// For each rule the tags that are behind their source, and since when that is known.
    behind: Mutex<BTreeMap<String, BTreeMap<String, Instant>>>,
}

impl MirrorMetrics {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            bytes: counter(&catalogue::MIRROR_BYTES)?,
            copied: counter(&catalogue::MIRROR_COPIED)?,
            lag: gauge(&catalogue::MIRROR_LAG)?,
            last_success: gauge(&catalogue::MIRROR_LAST_SUCCESS)?,
            shown: Once::new(),
            behind: Mutex::default(),
        })
    }

    /// Shows the metrics of these rules from now on, and those of no others.
    pub(super) fn follow<'a>(
        &self,
        registry: &Registry,
        rules: impl Iterator<Item = &'a MirrorRule>,
    ) {
        self.shown.call_once(|| {
            let collectors: [Box<dyn Collector>; 4] = [
                Box::new(self.bytes.clone()),
                Box::new(self.copied.clone()),
                Box::new(self.lag.clone()),
                Box::new(self.last_success.clone()),
            ];
            for collector in collectors {
                if let Err(error) = registry.register(collector) {
                    tracing::error!(%error, "a metric of the mirror cannot be shown");
                }
            }
        });
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *behind);
        self.lag.reset();
        for rule in rules {
            // All series exist from the start, so that the first event is seen as a rise.
            let name = rule.name.as_str();
            self.bytes.with_label_values(&[name]);
            OUTCOMES
                .iter()
                .for_each(|outcome| drop(self.copied.with_label_values(&[name, outcome])));
            self.last_success.with_label_values(&[name]);
            behind.insert(name.to_owned(), before.remove(name).unwrap_or_default());
        }
        for gone in before.keys() {
            // A series that is gone already is no error.
            let _ = self.bytes.remove_label_values(&[gone.as_str()]);
            let _ = self.last_success.remove_label_values(&[gone.as_str()]);
            for outcome in OUTCOMES {
                let _ = self.copied.remove_label_values(&[gone.as_str(), outcome]);
            }
        }
    }

    /// Sets the lag of each rule, for a scrape.
    pub(super) fn measure_lag(&self) {
        let behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        for (rule, tags) in &*behind {
            let since = tags.values().map(Instant::elapsed).max().unwrap_or_default();
            self.lag.with_label_values(&[rule.as_str()]).set(since.as_secs_f64());
        }
    }

    pub(super) fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        match event {
            MirrorEvent::TagBegun { tag, .. } => self.is_behind(rule, tag),
            MirrorEvent::TagEnded { report, received, .. } => self.ended(rule, report, *received),
            MirrorEvent::RuleEnded { report, at } if report.is_success() => {
                let seconds = at.timestamp_millis() as f64 / 1000.0;
                self.last_success.with_label_values(&[rule.name.as_str()]).set(seconds);
            }
            MirrorEvent::RuleEnded { .. }
            | MirrorEvent::BlobDone { .. }
            | MirrorEvent::Forgotten { .. } => {}
        }
    }

    fn ended(&self, rule: &MirrorRule, report: &TagReport, received: u64) {
        let name = rule.name.as_str();
        self.bytes.with_label_values(&[name]).inc_by(received);
        let outcome = match &report.outcome {
            Ok(TagOutcome::UpToDate) => None,
            Ok(TagOutcome::Copied { .. }) => Some(OUTCOMES[0]),
            Ok(TagOutcome::DocumentsCopied { .. }) => Some(OUTCOMES[1]),
            Err(_) => Some(OUTCOMES[2]),
        };
        if let Some(outcome) = outcome {
            self.copied.with_label_values(&[name, outcome]).inc();
        }
        if report.outcome.is_err() {
            // It may be up to date, but it is not known to be.
            return self.is_behind(rule, &report.tag);
        }
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.entry(name.to_owned()).or_default().remove(&report.tag);
    }

    fn is_behind(&self, rule: &MirrorRule, tag: &str) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        let tags = behind.entry(rule.name.clone()).or_default();
        tags.entry(tag.to_owned()).or_insert_with(Instant::now);
    }
}
