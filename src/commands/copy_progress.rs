//! The copies under way, on the terminal.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::print_raw;
use crate::core::mirror::rule::MirrorRule;
use crate::mirror::{MirrorEvent, MirrorListener};
use crate::output::{CopyUnderWay, LivePage, copies_under_way};
use crate::registry::transfer::Flow;

/// Time between two drawings: five per second look smooth, and more would only keep a slow machine
/// and a slow connection busy.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// What each rule copies now.
#[derive(Default)]
pub(super) struct CopyProgress {
    copies: Mutex<BTreeMap<String, Copy>>,
}

/// One copy.
struct Copy {
    shown: CopyUnderWay,
    flow: Flow,
    /// What the source had sent when the copy began, and when its last blob was done.
    first: u64,
    last: u64,
    began: Instant,
}

impl MirrorListener for CopyProgress {
    fn event(&self, rule: &MirrorRule, event: &MirrorEvent<'_>) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            MirrorEvent::TagBegun { tag, blobs, bytes, flow } => {
                let copy = Copy::new(rule, tag, (*blobs, *bytes), flow);
                copies.insert(rule.name.clone(), copy);
            }
            MirrorEvent::BlobDone { bytes } => {
                if let Some(copy) = copies.get_mut(&rule.name) {
                    copy.shown.blobs_done += 1;
                    copy.shown.bytes_done += bytes;
                    copy.last = copy.flow.received();
                }
            }
            MirrorEvent::TagEnded { .. } => drop(copies.remove(&rule.name)),
            MirrorEvent::RuleEnded { .. } | MirrorEvent::Forgotten { .. } => {}
        }
    }
}

impl Copy {
    fn new(rule: &MirrorRule, tag: &str, (blobs, bytes): (usize, u64), flow: &Flow) -> Self {
        let shown = CopyUnderWay {
            name: rule.to.tagged(tag).to_string(),
            blobs,
            blobs_done: 0,
            bytes,
            bytes_done: 0,
            received: 0,
            took: Duration::ZERO,
        };
        let (flow, first) = (flow.clone(), flow.received());
        Self { shown, flow, first, last: first, began: Instant::now() }
    }

    fn now(&self) -> CopyUnderWay {
        let received = self.flow.received();
        CopyUnderWay {
            bytes_done: self.shown.bytes_done + received.saturating_sub(self.last),
            received: received.saturating_sub(self.first),
            took: self.began.elapsed(),
            ..self.shown.clone()
        }
    }
}

impl CopyProgress {
    /// Draws the copies on a terminal until it is dropped; otherwise it only waits.
    pub(super) async fn show(&self, is_terminal: bool) {
        let mut page = LivePage::default();
        loop {
            tokio::time::sleep(REFRESH_INTERVAL).await;
            if is_terminal && print_raw(&page.draw(&self.lines())).is_err() {
                return;
            }
        }
    }

    fn lines(&self) -> String {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies_under_way(&copies.values().map(Copy::now).collect::<Vec<_>>())
    }
}
