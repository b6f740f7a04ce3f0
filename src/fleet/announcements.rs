//! What an announcement leads to: one look at the registry, at the device's turn.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::decide::snapshot::Snapshot;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::docker::webhook::Push;
use crate::core::fleet::announcements::{Announcements, KnownDigests, NoLook};
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::place::Roster;
use crate::core::fleet::topic::whole_name;

/// The looks that are due, and what was announced before.
#[derive(Debug)]
pub(super) struct AnnouncedLooks {
    heard: Announcements,
    roster: Option<Roster>,
    /// What must be looked at, by reference, each with its time.
    due: BTreeMap<String, (Instant, Push)>,
    /// The zero of the times that `core` counts.
    begun: Instant,
}

impl AnnouncedLooks {
    pub(super) fn new(roster: Option<Roster>) -> Self {
        let begun = Instant::now();
        Self { heard: Announcements::default(), roster, due: BTreeMap::new(), begun }
    }

    /// Takes an announcement. `Ok(None)`: no container of this device follows its reference.
    ///
    /// # Errors
    /// Why no look is needed.
    pub(super) fn take(
        &mut self,
        announcement: &Announcement,
        is_retained: bool,
        snapshot: &Snapshot,
    ) -> Result<Option<Duration>, NoLook> {
        let name = whole_name(&announcement.reference).ok_or(NoLook::Untagged)?;
        let Some(known) = Known::of(&name, snapshot) else { return Ok(None) };
        let digests = KnownDigests { running: &known.running, judged: &known.judged };
        let now = self.begun.elapsed();
        let at = self.heard.take(announcement, is_retained, digests, self.roster.as_ref(), now)?;
        let Reference { registry, repository, tag, .. } = announcement.reference.clone();
        let push = Push { registry: Some(registry), repository, tag };
        self.due.insert(name, (self.begun + at, push));
        Ok(Some(at.saturating_sub(now)))
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().map(|(at, _)| *at).min()
    }

    /// The looks that are due now; they are no longer kept.
    pub(super) fn take_due(&mut self) -> Vec<Push> {
        let now = Instant::now();
        let due = self.due.extract_if(.., |_, (at, _)| *at <= now);
        due.map(|(_, (_, push))| push).collect()
    }
}

/// What the containers of one reference run, and what was offered to them.
struct Known {
    running: Vec<Digest>,
    judged: Vec<Digest>,
}

impl Known {
    /// `None`: no watched container follows this reference.
    fn of(name: &str, snapshot: &Snapshot) -> Option<Self> {
        let follows = |image: &str| {
            let reference = image.parse::<Reference>().ok();
            reference.as_ref().and_then(whole_name).as_deref() == Some(name)
        };
        let reports: Vec<_> =
            snapshot.reports.iter().filter(|report| follows(&report.image)).collect();
        let first = reports.first()?.running.clone();
        let all_run = reports.iter().all(|report| report.running == first);
        let running = first.filter(|_| all_run).into_iter().collect();
        let offered = reports.first()?.offered.clone();
        let all_judged = reports.iter().all(|report| report.offered == offered);
        let judged = offered.filter(|_| all_judged).into_iter().collect();
        Some(Self { running, judged })
    }
}
