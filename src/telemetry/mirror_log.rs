//! What the mirror tells, as log lines.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::MirrorRule;
use crate::mirror::{MirrorEvent, MirrorListener, RuleReport, TagOutcome, TagReport};
use crate::output;

/// Writes copies to the log, and each failure once: a rule runs every few minutes, and says the
/// same each time. The fields are `rule`, `image`, `digest`, `bytes`, `seconds` and `reason`.
#[derive(Debug, Default)]
pub struct MirrorLog {
    /// The last failure of each rule and tag; the empty tag is the rule itself.
    failures: Mutex<BTreeMap<(String, String), String>>,
}

impl MirrorListener for MirrorLog {
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        let name = rule.name.as_str();
        match event {
            MirrorEvent::TagBegun { tag, blobs, bytes, .. } => {
                let amount = output::bytes(*bytes);
                let image = rule.to.tagged(tag).to_string();
                let from = &rule.from;
                tracing::info!(
                    rule = name,
                    image,
                    bytes,
                    "copying {from}:{tag}: {blobs} blobs, {amount}"
                );
            }
            MirrorEvent::BlobDone { .. } => {}
            MirrorEvent::TagEnded { report, received, took } => {
                self.tag_ended(rule, report, *received, *took);
            }
            MirrorEvent::RuleEnded { report, .. } => self.rule_ended(rule, report),
            MirrorEvent::Forgotten { detail } => {
                tracing::warn!(rule = name, "the mirror cannot remember: {detail}");
            }
        }
    }
}

impl MirrorLog {
    fn tag_ended(&self, rule: &MirrorRule, report: &TagReport, bytes: u64, took: Duration) {
        let (name, image) = (rule.name.as_str(), rule.to.tagged(&report.tag).to_string());
        let seconds = took.as_secs_f64();
        match &report.outcome {
            Err(error) => return self.failed(rule, &report.tag, error),
            Ok(TagOutcome::UpToDate) => tracing::debug!(rule = name, image, "up to date"),
            Ok(TagOutcome::DocumentsCopied { count }) => tracing::info!(
                rule = name,
                image,
                bytes,
                "copied {count} documents about {image}: signatures, attestations"
            ),
            Ok(TagOutcome::Copied { digest, is_whole }) => {
                let (amount, took) = (output::bytes(bytes), output::seconds(seconds));
                let platforms = match is_whole {
                    true => "",
                    false => "; some platforms only, so its digest differs from its source's",
                };
                let (short, digest) = (digest.short().to_owned(), digest.as_str());
                tracing::info!(
                    rule = name,
                    image,
                    digest,
                    bytes,
                    seconds,
                    "copied {image} {short}: {amount} in {took}{platforms}"
                );
            }
        }
        self.mended(rule, &report.tag);
    }

    fn rule_ended(&self, rule: &MirrorRule, report: &RuleReport) {
        if !report.deleted.is_empty() {
            let tags = output::one_line(&report.deleted.join(", "));
            tracing::info!(rule = rule.name, "deleted old tags of {}: {tags}", rule.to);
        }
        match &report.error {
            Some(error) => self.failed(rule, "", error),
            None => self.mended(rule, ""),
        }
    }

    fn failed(&self, rule: &MirrorRule, tag: &str, error: &CopyError) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (reason, detail) = (error.word(), output::one_line(&error.to_string()));
        let key = (rule.name.clone(), tag.to_owned());
        let what = match tag {
            "" => rule.from.to_string(),
            tag => rule.from.tagged(tag).to_string(),
        };
        let (rule, advice) = (rule.name.as_str(), error.advice());
        let words = format!("{reason} {detail}");
        if failures.insert(key, words.clone()).as_ref() == Some(&words) {
            tracing::debug!(rule, reason, "{what} is still not copied: {reason}: {detail}");
        } else {
            tracing::warn!(rule, reason, "{what} is not copied: {reason}: {detail}; {advice}");
        }
    }

    fn mended(&self, rule: &MirrorRule, tag: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&(rule.name.clone(), tag.to_owned()));
    }
}
