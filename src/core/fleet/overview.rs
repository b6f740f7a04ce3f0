//! The whole fleet as its operator sees it, from the retained messages of all devices.
//!
//! Each message was written by a device that may be stolen. So each device has a limit of its own,
//! and what it writes changes nothing but its own rows.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::decide::report::Verdict;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::message::agent::AgentState;
use crate::core::fleet::message::presence::{DevicePresence, PresenceState};
use crate::core::fleet::message::row::SubjectState;
use crate::core::fleet::message::stop::{FleetStop, StopScope};
use crate::core::fleet::message::{Incoming, MessageError};
use crate::core::fleet::names::DeviceName;
use crate::core::fleet::place::FLEET_SIZE_MAX;
use crate::core::fleet::topic::{ReferenceKey, Topic};
use crate::core::subject::Subject;

/// Most containers and services of one device that an observer keeps. A Pi has some ten of them,
/// and a stolen device may tell of any number.
const SUBJECTS_MAX: usize = 100;

/// Most verdicts of one device that an observer keeps. A device has one for each reference.
const VERDICTS_MAX: usize = 100;

/// The fleet, as far as it has told of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetOverview {
    devices: BTreeMap<DeviceName, DeviceOverview>,
    stop: Option<FleetStop>,
    /// Messages that cannot be read, and those beyond a limit.
    ignored: u64,
}

/// One device, as far as it has told of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceOverview {
    presence: Option<DevicePresence>,
    /// When the device came or went, by the observer's clock; `None` if the observer did not see
    /// it. A retained message does not say how old it is.
    pub changed_at: Option<Duration>,
    pub agent: Option<AgentState>,
    pub subjects: BTreeMap<Subject, SubjectState>,
    /// Whether the device told of more containers than are kept.
    pub has_more: bool,
    pub(super) verdicts: BTreeMap<ReferenceKey, ToldVerdict>,
}

/// How an update ended, as a device told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToldVerdict {
    pub reference: Reference,
    pub digest: Digest,
    pub ok: bool,
}

/// How many of what there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetCounts {
    pub devices: usize,
    pub online: usize,
    pub away: usize,
    /// All containers and services.
    pub containers: usize,
    pub up_to_date: usize,
    pub update: usize,
    pub held: usize,
    pub errors: usize,
    /// Those with an update in flight.
    pub busy: usize,
    /// Rows that devices count, and the broker has not sent.
    pub missing: usize,
}

/// What an operator should look at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attention {
    Error,
    Away,
    Busy,
    Held,
    Update,
    None,
}

impl FleetOverview {
    /// Takes a message. `now` is a time of any monotonic clock. `is_retained` is true if the broker
    /// had kept the message from before. A message that cannot be read is counted.
    pub fn note(&mut self, topic: &Topic, payload: &[u8], is_retained: bool, now: Duration) {
        let is_noted = self.take(topic, payload, (!is_retained).then_some(now)).is_ok();
        self.ignored += u64::from(!is_noted);
    }

    /// A message came on a topic that no device has.
    pub const fn note_unknown(&mut self) {
        self.ignored += 1;
    }

    fn take(
        &mut self,
        topic: &Topic,
        payload: &[u8],
        now: Option<Duration>,
    ) -> Result<(), MessageError> {
        match topic {
            Topic::Stop => {
                if let Incoming::Stop(stop) = Incoming::read(topic, payload)? {
                    self.stop = (stop.scope != StopScope::Nothing).then_some(stop);
                }
                Ok(())
            }
            Topic::Online(name)
            | Topic::Agent(name)
            | Topic::Container(name, _)
            | Topic::Service(name, _)
            | Topic::Verdict(_, name) => {
                let is_full = self.devices.len() >= FLEET_SIZE_MAX as usize;
                if is_full && !self.devices.contains_key(name) {
                    return Err(MessageError::TooLarge);
                }
                let device = self.devices.entry(name.clone()).or_default();
                let noted = device.take(topic, payload, now);
                if device.is_empty() {
                    self.devices.remove(name);
                }
                noted
            }
            _ => Err(MessageError::UnknownTopic),
        }
    }

    /// The devices, `till-2` before `till-10`. A name that only wrote verdicts is no device.
    #[must_use]
    pub fn devices(&self) -> Vec<(&DeviceName, &DeviceOverview)> {
        let mut devices: Vec<_> = self.devices.iter().filter(|(_, it)| it.is_device()).collect();
        devices.sort_by_key(|(name, _)| {
            let (text, number) = name.number().map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
            (text, number, name.as_str())
        });
        devices
    }

    /// The stop that is in force.
    #[must_use]
    pub const fn stop(&self) -> Option<&FleetStop> {
        self.stop.as_ref()
    }

    /// How many messages were ignored.
    #[must_use]
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// How many of what there are.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        let mut counts = FleetCounts::default();
        for device in self.devices.values().filter(|device| device.is_device()) {
            counts.devices += 1;
            counts.online += usize::from(device.is_online() == Some(true));
            counts.away += usize::from(device.is_online() == Some(false));
            counts.missing += device.missing();
            counts.containers += device.subjects.len();
            for state in device.subjects.values() {
                counts.busy += usize::from(state.busy);
                *match state.verdict {
                    Verdict::UpToDate => &mut counts.up_to_date,
                    Verdict::Update => &mut counts.update,
                    Verdict::Held => &mut counts.held,
                    Verdict::Error => &mut counts.errors,
                } += 1;
            }
        }
        counts
    }
}

impl DeviceOverview {
    /// Whether the device is connected to the broker; `None` if it has not told.
    #[must_use]
    pub fn is_online(&self) -> Option<bool> {
        self.presence.as_ref().map(|it| it.state == PresenceState::Online)
    }

    /// The version of its agent.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.presence.as_ref()?.version.as_deref()
    }

    /// Rows that it counts, and the broker has not sent.
    #[must_use]
    pub fn missing(&self) -> usize {
        let watched = self.agent.as_ref().map_or(0, |agent| agent.watched as usize);
        watched.min(SUBJECTS_MAX).saturating_sub(self.subjects.len())
    }

    /// What an operator should look at first.
    #[must_use]
    pub fn attention(&self) -> Attention {
        let state = |state: &SubjectState| match (state.busy, state.verdict) {
            (true, _) => Attention::Busy,
            (_, Verdict::Error) => Attention::Error,
            (_, Verdict::Held) => Attention::Held,
            (_, Verdict::Update) => Attention::Update,
            (_, Verdict::UpToDate) => Attention::None,
        };
        let agent = self.agent.as_ref().filter(|agent| agent.error.is_some());
        let own = match (agent, self.is_online()) {
            (Some(_), _) => Attention::Error,
            (None, Some(true)) => Attention::None,
            (None, _) => Attention::Away,
        };
        self.subjects.values().map(state).fold(own, Attention::min)
    }

    fn is_device(&self) -> bool {
        self.presence.is_some() || self.agent.is_some() || !self.subjects.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.is_device() && self.verdicts.is_empty()
    }

    /// `now` is set if the message tells of this moment.
    fn take(
        &mut self,
        topic: &Topic,
        payload: &[u8],
        now: Option<Duration>,
    ) -> Result<(), MessageError> {
        let is_cleared = payload.is_empty();
        match topic {
            Topic::Online(_) if is_cleared => self.presence = None,
            Topic::Agent(_) if is_cleared => self.agent = None,
            Topic::Agent(_) => self.agent = Some(AgentState::read(payload)?),
            Topic::Container(_, name) => {
                self.note_row(Subject::container(name.as_str()), payload)?;
            }
            Topic::Service(_, name) => self.note_row(Subject::service(name.as_str()), payload)?,
            _ => match Incoming::read(topic, payload)? {
                Incoming::Presence(_, presence) => self.note_presence(presence, now),
                Incoming::Verdict(_, verdict) => {
                    if let Topic::Verdict(key, _) = topic {
                        let (digest, ok) = (verdict.digest, verdict.ok);
                        let told = ToldVerdict { reference: verdict.reference, digest, ok };
                        return insert(&mut self.verdicts, VERDICTS_MAX, key.clone(), told);
                    }
                }
                Incoming::VerdictCleared(key, _) => {
                    self.verdicts.remove(&key);
                }
                _ => return Err(MessageError::UnknownTopic),
            },
        }
        Ok(())
    }

    fn note_presence(&mut self, presence: DevicePresence, now: Option<Duration>) {
        let known = self.presence.as_ref();
        // The last will of an earlier agent may come after its successor is online.
        if known.is_some_and(|known| presence.boot < known.boot) {
            return;
        }
        if known.is_none_or(|known| known.state != presence.state) {
            self.changed_at = now;
        }
        self.presence = Some(presence);
    }

    fn note_row(&mut self, subject: Subject, payload: &[u8]) -> Result<(), MessageError> {
        if payload.is_empty() {
            self.subjects.remove(&subject);
            return Ok(());
        }
        let state = SubjectState::read(payload)?;
        let noted = insert(&mut self.subjects, SUBJECTS_MAX, subject, state);
        self.has_more |= noted.is_err();
        noted
    }
}

fn insert<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    max: usize,
    key: K,
    value: V,
) -> Result<(), MessageError> {
    if map.len() >= max && !map.contains_key(&key) {
        return Err(MessageError::TooLarge);
    }
    map.insert(key, value);
    Ok(())
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
