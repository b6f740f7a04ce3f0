//! What the broker retains of this device, and what of it must be told anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::device::FleetDevice;
use super::home_assistant::{self, ToldDescription};
use super::state::{Percents, messages};
use crate::broker::{Broker, Publication};
use crate::core::decide::snapshot::Snapshot;
use crate::core::fleet::message::presence::PresenceState;
use crate::core::fleet::topic::Topic;
use crate::core::subject::Subject;

/// Shortest time between two messages about the progress of one pull.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// The progress of a pull is told in steps of so many percents.
const PERCENT_STEP: u8 = 5;

/// How long the broker keeps a retained message of a device: a device that is gone for good leaves
/// nothing behind.
const STATE_EXPIRY_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A living device tells its whole state again before it expires.
const STATE_REPEAT_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Most rows of earlier runs that are cleared after one connection.
const STALE_ROWS_MAX: usize = 4096;

/// What the broker retains of this device.
#[derive(Debug)]
pub(super) struct ToldState {
    device: FleetDevice,
    is_connected: bool,
    /// What this connection has told, by topic.
    told: BTreeMap<Topic, Vec<u8>>,
    /// Rows that the broker had retained from before, which this connection has not told.
    stale: BTreeSet<Topic>,
    /// The description of the device; absent without Home Assistant.
    description: Option<ToldDescription>,
    percents: Percents,
    /// When the progress of each pull was told last.
    progress_told: BTreeMap<Subject, Instant>,
    repeat_at: Instant,
}

impl ToldState {
    pub(super) fn new(device: FleetDevice) -> Self {
        Self {
            description: ToldDescription::new(&device),
            device,
            is_connected: false,
            told: BTreeMap::new(),
            stale: BTreeSet::new(),
            percents: Percents::new(),
            progress_told: BTreeMap::new(),
            repeat_at: Instant::now() + STATE_REPEAT_TIME,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// When everything must be told again.
    pub(super) fn repeat_at(&self) -> Instant {
        self.repeat_at
    }

    /// When a change must be told to Home Assistant that came too early.
    pub(super) fn description_due(&self) -> Option<Instant> {
        self.description.as_ref().filter(|_| self.is_connected)?.due()
    }

    /// There is a connection: the broker may have forgotten everything.
    pub(super) fn connected(&mut self, broker: &impl Broker) {
        self.is_connected = true;
        self.stale.clear();
        let topic = Topic::Online(self.device.name.clone());
        // Without an expiry, as that of the last will, which takes its place.
        self.publish(broker, &topic, self.device.presence(PresenceState::Online), None);
        self.forget();
        if let Some(description) = &mut self.description {
            description.connected();
        }
    }

    /// The agent ends: the device is offline, and not only after the delay of the last will.
    pub(super) fn leave(&self, broker: &impl Broker) {
        let topic = Topic::Online(self.device.name.clone());
        self.publish(broker, &topic, self.device.presence(PresenceState::Offline), None);
    }

    /// Everything must be told again, before it expires.
    pub(super) fn repeat(&mut self) {
        self.forget();
        if let Some(description) = &mut self.description {
            description.repeat();
        }
    }

    fn forget(&mut self) {
        self.told.clear();
        self.repeat_at = Instant::now() + STATE_REPEAT_TIME;
    }

    pub(super) fn lost(&mut self) {
        self.is_connected = false;
    }

    /// The broker retains this row of the device.
    pub(super) fn row_heard(&mut self, topic: Topic) {
        if !self.told.contains_key(&topic) && self.stale.len() < STALE_ROWS_MAX {
            self.stale.insert(topic);
        }
    }

    /// A pull has come this far. Returns whether that is to be told now.
    pub(super) fn pulled(&mut self, subject: &Subject, current: u64, total: u64) -> bool {
        let share = current.saturating_mul(100).checked_div(total).map(|share| share.min(100));
        let percent = share.and_then(|share| u8::try_from(share).ok());
        let Some(percent) = percent.map(|it| it - it % PERCENT_STEP) else { return false };
        let now = Instant::now();
        let last = self.progress_told.get(subject);
        let is_early = last.is_some_and(|last| now < *last + PROGRESS_INTERVAL);
        if is_early || self.percents.get(subject) == Some(&percent) {
            return false;
        }
        self.percents.insert(subject.clone(), percent);
        self.progress_told.insert(subject.clone(), now);
        true
    }

    /// The pull has ended.
    pub(super) fn pull_ended(&mut self, subject: &Subject) {
        self.percents.remove(subject);
        self.progress_told.remove(subject);
    }

    /// Tells what has changed since the last time; after a connection everything.
    pub(super) fn tell(&mut self, broker: &impl Broker, snapshot: &Snapshot) {
        if !self.is_connected {
            return;
        }
        let now = messages(&self.device, snapshot, &self.percents);
        for (topic, payload) in &now {
            if self.told.get(topic) != Some(payload) {
                self.publish(broker, topic, payload.clone(), Some(STATE_EXPIRY_TIME));
            }
        }
        let told = std::mem::take(&mut self.told);
        let mut gone: BTreeSet<Topic> = told.into_keys().collect();
        // Before the first round not all containers are known: none of them is gone.
        if snapshot.last_check.is_some() {
            gone.append(&mut self.stale);
        }
        gone.retain(|topic| !now.contains_key(topic));
        // State first, then its description: Home Assistant shows the state at once. A row is
        // cleared last, because after a crash it shows what must be removed.
        if snapshot.last_check.is_some()
            && let Some(description) = &mut self.description
        {
            let subjects = now.keys().filter_map(Topic::subject).collect();
            let gone = gone.iter().filter_map(Topic::subject).collect();
            description.tell(broker, &self.device, &subjects, gone, STATE_EXPIRY_TIME);
        }
        for topic in &gone {
            self.clear(broker, topic);
        }
        self.told = now;
    }

    /// Removes what an earlier run has told to a Home Assistant with another prefix.
    pub(super) fn clear_description(&self, broker: &impl Broker, snapshot: &Snapshot) {
        let prefix = snapshot.fleet.as_ref().and_then(|fleet| fleet.discovery_left.as_ref());
        if let Some(prefix) = prefix {
            home_assistant::clear(broker, &self.device, prefix);
        }
    }

    fn clear(&self, broker: &impl Broker, topic: &Topic) {
        self.publish(broker, topic, Vec::new(), None);
    }

    fn publish(
        &self,
        broker: &impl Broker,
        topic: &Topic,
        payload: Vec<u8>,
        expiry: Option<Duration>,
    ) {
        let topic = self.device.topics.name(topic);
        drop(broker.publish(Publication::retained(topic, payload, expiry)));
    }
}
