//! What a rule tells while it runs: for the log, the metrics, the terminal and the fleet.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::docker::reference::Reference;
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::MirrorRule;
use crate::mirror::rule::{RuleReport, TagReport};
use crate::registry::transfer::Flow;

/// Something that happened in a run of a rule.
#[derive(Debug)]
pub enum MirrorEvent<'a> {
    /// A tag is copied: it is new, or points at something new.
    TagBegun {
        tag: &'a str,
        /// Blobs of the image, with those that the target has.
        blobs: usize,
        /// Bytes of these blobs.
        bytes: u64,
        /// Counts what the source sends.
        flow: &'a Flow,
    },
    /// The target has one more blob of the tag that is being copied.
    BlobDone { bytes: u64 },
    /// A tag is done, or was refused. An image that is copied is behind its tag now.
    TagEnded {
        report: &'a TagReport,
        /// Bytes that its source sent.
        received: u64,
        took: Duration,
    },
    /// A run has ended.
    RuleEnded { report: &'a RuleReport, at: DateTime<Utc> },
    /// The rule could not be remembered, or what was remembered cannot be read.
    Forgotten { detail: &'a str },
}

/// Receives what rules tell. It must not block.
pub trait MirrorListener: Send + Sync {
    /// Receives one event of a run of this rule.
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>);
}

impl MirrorListener for Vec<Arc<dyn MirrorListener>> {
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        self.iter().for_each(|listener| listener.event(rule, event));
    }
}

impl TagReport {
    /// The reference at the target, if an image was just copied there.
    #[must_use]
    pub fn copied_reference(&self, rule: &MirrorRule) -> Option<Reference> {
        let digest = self.outcome.as_ref().ok()?.copied_digest()?;
        Some(Reference { digest: Some(digest.clone()), ..rule.to.tagged(&self.tag) })
    }
}

impl RuleReport {
    /// The failures: of the whole rule, then of its tags.
    pub fn failures(&self) -> impl Iterator<Item = &CopyError> {
        let tags = self.tags.iter().filter_map(|tag| tag.outcome.as_ref().err());
        self.error.iter().chain(tags)
    }

    /// Whether everything at the target is as it is at the source.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures().next().is_none()
    }
}
