//! What the device remembers of its fleet across restarts. One file, which is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::docker::reference::Digest;
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::rollout_progress::RolloutProgress;
use crate::core::fleet::stop::StopMemory;

/// The time of a stop that may pass before it is written again: 24 writes a day while a fleet is
/// stopped, so that its age survives a restart.
const STOP_SAVE_INTERVAL: Duration = Duration::from_secs(3600);

/// What the device remembers of its fleet. References are whole names, like
/// `docker.io/library/nginx:latest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetMemory {
    #[serde(default)]
    pub stop: StopMemory,
    /// How far the device is with the digest that it last saw, by reference.
    #[serde(default)]
    rollouts: BTreeMap<String, RolloutProgress>,
    /// What the device told about its last update, by reference. It is told again after each
    /// connection, because a broker may forget it.
    #[serde(default)]
    verdicts: BTreeMap<String, FleetVerdict>,
    /// The discovery prefix under which the device is described to Home Assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discovery: Option<String>,
    #[serde(skip)]
    is_changed: bool,
    /// The time of the stop on disk.
    #[serde(skip)]
    saved_stop: Duration,
}

impl FleetMemory {
    /// Time has passed by the monotonic clock.
    pub fn advance(&mut self, by: Duration) {
        self.stop.advance(by);
        self.rollouts.values_mut().for_each(|progress| progress.advance(by));
    }

    /// The broker is reachable.
    pub fn note_connected(&mut self) {
        self.rollouts.values_mut().for_each(RolloutProgress::note_connected);
    }

    /// Something changed that must be written.
    pub const fn note_change(&mut self) {
        self.is_changed = true;
    }

    /// How far the device is with a digest. Another digest begins again, because its canaries are
    /// others.
    pub fn progress(&mut self, name: &str, digest: &Digest) -> &mut RolloutProgress {
        let new = || RolloutProgress::new(digest.clone());
        let progress = self.rollouts.entry(name.to_owned()).or_insert_with(new);
        if progress.digest != *digest {
            *progress = new();
        }
        progress
    }

    /// The same, if the device has seen the digest.
    pub fn progress_of(&mut self, name: &str, digest: &Digest) -> Option<&mut RolloutProgress> {
        self.rollouts.get_mut(name).filter(|progress| progress.digest == *digest)
    }

    /// What the device told about a reference.
    #[must_use]
    pub fn verdict(&self, name: &str) -> Option<&FleetVerdict> {
        self.verdicts.get(name)
    }

    /// All that the device told.
    pub fn verdicts(&self) -> impl Iterator<Item = &FleetVerdict> {
        self.verdicts.values()
    }

    /// The device tells this about a reference from now on; nothing with `None`.
    pub fn tell(&mut self, name: &str, verdict: Option<FleetVerdict>) {
        match verdict {
            Some(verdict) => self.verdicts.insert(name.to_owned(), verdict),
            None => self.verdicts.remove(name),
        };
        self.is_changed = true;
    }

    /// The discovery prefix under which the device is described.
    #[must_use]
    pub fn discovery(&self) -> Option<&str> {
        self.discovery.as_deref()
    }

    /// The device is described under this prefix from now on.
    pub fn describe(&mut self, prefix: Option<&str>) {
        if self.discovery() != prefix {
            self.discovery = prefix.map(str::to_owned);
            self.is_changed = true;
        }
    }

    /// Forgets all references except these.
    pub fn keep(&mut self, names: &BTreeSet<&str>) {
        let before = self.rollouts.len() + self.verdicts.len();
        self.rollouts.retain(|name, _| names.contains(name.as_str()));
        self.verdicts.retain(|name, _| names.contains(name.as_str()));
        self.is_changed |= before != self.rollouts.len() + self.verdicts.len();
    }

    /// Whether it must be written to disk.
    #[must_use]
    pub fn must_be_saved(&self) -> bool {
        self.is_changed
            || self.stop.elapsed().saturating_sub(self.saved_stop) >= STOP_SAVE_INTERVAL
            || self.rollouts.values().any(RolloutProgress::must_be_saved)
    }

    /// It was written to disk, or read from there.
    pub fn note_saved(&mut self) {
        self.is_changed = false;
        self.saved_stop = self.stop.elapsed();
        self.rollouts.values_mut().for_each(RolloutProgress::note_saved);
    }
}
