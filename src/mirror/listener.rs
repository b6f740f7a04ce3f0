//! What a rule tells while it runs: for the log, the metrics, the terminal and the fleet.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::core::mirror::rule::MirrorRule;
use crate::mirror::report::{RuleReport, TagReport};
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
