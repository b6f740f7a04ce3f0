//! The one entry to the rules of a fleet: what the device knows of it, what a message changes, and
//! whose turn it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::announcements::{Announcements, KnownDigests, NoLook};
use crate::core::fleet::commands::{IgnoredCommand, SeenCommands};
use crate::core::fleet::memory::FleetMemory;
use crate::core::fleet::message::announcement::Announcement;
use crate::core::fleet::message::command::FleetCommand;
use crate::core::fleet::message::verdict::FleetVerdict;
use crate::core::fleet::message::{Incoming, MessageError};
use crate::core::fleet::names::{DeviceName, FleetName};
use crate::core::fleet::place::Roster;
use crate::core::fleet::rollout::Rollout;
use crate::core::fleet::rollout_progress::RolloutProgress;
use crate::core::fleet::topic::{ReferenceKey, Topic, Topics, whole_name};
use crate::core::fleet::turn::Turn;
use crate::core::fleet::turn_report::{RolloutStage, TurnReport};
use crate::core::fleet::verdict::{VerdictChange, change};
use crate::core::fleet::votes::Votes;
use crate::core::update::history::{Cause, Outcome};

/// Most references that a device follows in its fleet; a Pi runs dozens. Announcements of others
/// are ignored, and in a staged rollout the device never updates others unless their turn comes at
/// once, because it cannot remember how long they wait.
const FOLLOWED_MAX: usize = 256;

/// What the configuration says about the fleet.
#[derive(Debug, Clone)]
pub struct FleetMembership {
    pub fleet: FleetName,
    pub device: DeviceName,
    /// Whether the device takes commands.
    pub takes_commands: bool,
    /// The discovery prefix of Home Assistant; `None` without it.
    pub discovery_prefix: Option<String>,
    /// Spreads the looks after an announcement; `None` without `fleet.size`.
    pub roster: Option<Roster>,
    /// `None` without `fleet.waves`: then all devices go at once.
    pub rollout: Option<Rollout>,
}

/// A message as the broker delivers it.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub is_retained: bool,
}

/// What a message leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// One look at a reference, at this time of the monotonic clock.
    Look(Reference, Duration),
    NoLook(NoLook),
    Command(FleetCommand),
    /// Held containers ask for their turn again: verdicts or the stop changed.
    AskTurns,
}

/// Why a message is ignored. The word of each is the reason in the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IgnoredMessage {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Command(#[from] IgnoredCommand),
    #[error("this device follows no such reference")]
    NotFollowed,
    #[error("the verdict does not count: its device is none of the fleet, or no canary")]
    NoVote,
}

impl IgnoredMessage {
    /// The word used in the log and the metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Message(error) => error.word(),
            Self::Command(error) => error.word(),
            Self::NotFollowed => "not_followed",
            Self::NoVote => "no_vote",
        }
    }
}

/// A message to the broker. An empty payload removes what is retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: Topic,
    pub payload: Vec<u8>,
}

/// A reference that containers of this device follow.
#[derive(Debug, Default)]
struct Followed {
    name: String,
    votes: Votes,
}

/// What the device knows of its fleet.
#[derive(Debug)]
pub struct FleetState {
    membership: FleetMembership,
    topics: Topics,
    followed: BTreeMap<ReferenceKey, Followed>,
    memory: FleetMemory,
    announcements: Announcements,
    commands: SeenCommands,
    is_connected: bool,
    /// The time of the monotonic clock up to which the memory counts.
    counted: Duration,
}

/// Every `now` is a time of the monotonic clock, which may begin anywhere.
impl FleetState {
    /// The state after a start, with the memory that was on disk.
    #[must_use]
    pub fn new(membership: FleetMembership, mut memory: FleetMemory, now: Duration) -> Self {
        memory.note_saved();
        Self {
            topics: Topics::new(&membership.fleet),
            membership,
            followed: BTreeMap::new(),
            memory,
            announcements: Announcements::default(),
            commands: SeenCommands::default(),
            is_connected: false,
            counted: now,
        }
    }

    /// The topics of the fleet.
    #[must_use]
    pub const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The memory, to be written to disk.
    #[must_use]
    pub const fn memory(&self) -> &FleetMemory {
        &self.memory
    }

    /// Whether the memory must be written to disk: after a change, and once an hour in a rollout.
    #[must_use]
    pub fn must_be_saved(&self) -> bool {
        self.memory.must_be_saved()
    }

    /// The memory was written to disk.
    pub fn note_saved(&mut self) {
        self.memory.note_saved();
    }

    /// How long a stop of the fleet is in force; `None` without one.
    #[must_use]
    pub fn stopped_for(&self) -> Option<Duration> {
        self.memory.stop.in_force().map(|_| self.memory.stop.elapsed())
    }

    /// The discovery prefix of Home Assistant that an earlier run used, and this one does not. Its
    /// description is removed with the next connection.
    #[must_use]
    pub fn discovery_left(&self) -> Option<&str> {
        let current = self.membership.discovery_prefix.as_deref();
        self.memory.discovery().filter(|earlier| Some(*earlier) != current)
    }

    /// Counts the time that has passed.
    pub fn advance_to(&mut self, now: Duration) {
        self.memory.advance(now.saturating_sub(self.counted));
        self.counted = now;
    }

    /// The connection to the broker was made or lost.
    pub fn note_broker(&mut self, is_connected: bool) {
        self.is_connected = is_connected;
        if is_connected {
            self.memory.note_connected();
            self.memory.describe(self.membership.discovery_prefix.as_deref());
        }
    }

    /// The references of all watched containers, once the Engine has told all of them. What is
    /// known of others is forgotten, and their rollouts begin again. A reference without a tag has
    /// nothing to follow.
    pub fn follow<'a>(&mut self, references: impl IntoIterator<Item = &'a Reference>) {
        let name = |it: &Reference| Some((ReferenceKey::of(it)?, whole_name(it)?));
        let mut names: BTreeMap<_, _> = references.into_iter().filter_map(name).collect();
        while names.len() > FOLLOWED_MAX {
            names.pop_last();
        }
        self.followed.retain(|key, _| names.contains_key(key));
        for (key, name) in names {
            self.followed.entry(key).or_default().name = name;
        }
        self.memory.keep(&self.followed.values().map(|it| it.name.as_str()).collect());
    }

    /// The device follows this reference too.
    pub fn begin_following(&mut self, reference: &Reference) {
        let Some((key, name)) = ReferenceKey::of(reference).zip(whole_name(reference)) else {
            return;
        };
        if self.followed.len() < FOLLOWED_MAX {
            self.followed.entry(key).or_default().name = name;
        }
    }

    /// Takes a message. `known` says what the device knows of the digests of a reference.
    ///
    /// # Errors
    /// Why the message is ignored.
    pub fn receive(
        &mut self,
        delivery: Delivery<'_>,
        known: impl FnOnce(&Reference) -> KnownDigests,
        now: Duration,
    ) -> Result<Effect, IgnoredMessage> {
        self.advance_to(now);
        let topic = self.topics.parse(delivery.topic).ok_or(MessageError::UnknownTopic)?;
        match Incoming::read(&topic, delivery.payload)? {
            Incoming::Announcement(announcement) => {
                let known = known(&announcement.reference);
                self.look(&announcement, delivery.is_retained, &known, now)
            }
            Incoming::Verdict(device, verdict) => self.count(&device, &verdict),
            Incoming::VerdictCleared(key, device) => {
                let followed = self.followed.get_mut(&key).ok_or(IgnoredMessage::NotFollowed)?;
                followed.votes.withdraw(&device);
                Ok(Effect::AskTurns)
            }
            Incoming::Stop(stop) => {
                if !self.memory.stop.note(stop) {
                    return Ok(Effect::Nothing);
                }
                self.memory.note_change();
                Ok(Effect::AskTurns)
            }
            Incoming::Command(device, command) => {
                if !self.membership.takes_commands || device != self.membership.device {
                    return Err(MessageError::UnknownTopic.into());
                }
                Ok(Effect::Command(self.commands.take(command, delivery.is_retained)?))
            }
            Incoming::Cleared => Ok(Effect::Nothing),
            Incoming::Build(_) | Incoming::Presence(..) | Incoming::Reply(..) => {
                Err(MessageError::UnknownTopic.into())
            }
        }
    }

    fn look(
        &mut self,
        announcement: &Announcement,
        is_retained: bool,
        known: &KnownDigests,
        now: Duration,
    ) -> Result<Effect, IgnoredMessage> {
        let key = ReferenceKey::of(&announcement.reference);
        if !key.is_some_and(|key| self.followed.contains_key(&key)) {
            return Err(IgnoredMessage::NotFollowed);
        }
        let roster = self.membership.rollout.as_ref().map(Rollout::roster);
        let roster = roster.or(self.membership.roster.as_ref());
        let look = self.announcements.take(announcement, is_retained, known, roster, now);
        let reference = announcement.reference.clone();
        Ok(look.map_or_else(Effect::NoLook, |at| Effect::Look(reference, at)))
    }

    fn count(
        &mut self,
        device: &DeviceName,
        verdict: &FleetVerdict,
    ) -> Result<Effect, IgnoredMessage> {
        let rollout = self.membership.rollout.as_ref().ok_or(MessageError::UnknownTopic)?;
        let key = ReferenceKey::of(&verdict.reference);
        let followed = key.and_then(|key| self.followed.get_mut(&key));
        let followed = followed.ok_or(IgnoredMessage::NotFollowed)?;
        if !followed.votes.note(rollout, device, verdict) {
            return Err(IgnoredMessage::NoVote);
        }
        // The moment of the release is the one of the message, not the one of the next question.
        if let Some(progress) = self.memory.progress_of(&followed.name, &verdict.digest) {
            progress.note(rollout, &followed.votes.tally(rollout, &verdict.digest));
        }
        Ok(Effect::AskTurns)
    }

    /// Whether it is this device's turn to update a reference to a digest, which is the one that
    /// the registry says the tag points at. With the first question the device first sees the
    /// digest. An announcement cannot begin its time, so a lie cannot begin it again.
    pub fn turn(&mut self, reference: &Reference, digest: &Digest, now: Duration) -> TurnReport {
        self.advance_to(now);
        let stop = self.memory.stop.of(reference).cloned();
        let (Some(rollout), Some(key)) = (&self.membership.rollout, ReferenceKey::of(reference))
        else {
            return TurnReport { turn: Turn::without_stages(stop.as_ref()), stage: None };
        };
        let followed = self.followed.get(&key);
        let tally = followed.map(|it| it.votes.tally(rollout, digest)).unwrap_or_default();
        let mut unknown = RolloutProgress::new(digest.clone());
        // A device that cannot remember the time is late, and never early.
        let progress = followed.map_or(&mut unknown, |it| self.memory.progress(&it.name, digest));
        if self.is_connected {
            progress.note_connected();
        }
        progress.note(rollout, &tally);
        let standing = rollout.standing(digest);
        let turn = rollout.turn(&standing, progress, &tally, stop.as_ref());
        progress.note_turn(&turn);
        let stage = RolloutStage {
            standing,
            size: rollout.roster().size(),
            canaries: rollout.canaries(),
            ok_needed: rollout.ok_needed(),
            tally,
            elapsed: progress.elapsed(),
        };
        TurnReport { turn, stage: Some(stage) }
    }

    /// A person allows a digest on this device. The verdicts of others do not matter for it then;
    /// a stop still does.
    pub fn allow(&mut self, reference: &Reference, digest: &Digest) {
        if let Some(followed) = ReferenceKey::of(reference).and_then(|it| self.followed.get(&it)) {
            self.memory.progress(&followed.name, digest).allow();
        }
    }

    /// An update of a reference to a digest has ended. Returns what the device tells others.
    pub fn note_ended(
        &mut self,
        reference: &Reference,
        digest: &Digest,
        ended: (Outcome, Option<&Cause>),
    ) -> Option<Outgoing> {
        let (rollout, key) = (self.membership.rollout.as_ref()?, ReferenceKey::of(reference)?);
        let name = &self.followed.get(&key)?.name;
        let told = self.memory.verdict(name);
        let topic = Topic::Verdict(key, self.membership.device.clone());
        match change(rollout, reference, digest, ended, told) {
            VerdictChange::Nothing => None,
            VerdictChange::Clear => {
                self.memory.tell(name, None);
                Some(Outgoing { topic, payload: Vec::new() })
            }
            VerdictChange::Publish(verdict) => {
                let payload = verdict.encode()?;
                self.memory.tell(name, Some(verdict));
                Some(Outgoing { topic, payload })
            }
        }
    }

    /// The verdicts of this device, which are told again after each connection.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Outgoing> {
        let outgoing = |verdict: &FleetVerdict| {
            let key = ReferenceKey::of(&verdict.reference)?;
            let topic = Topic::Verdict(key, self.membership.device.clone());
            Some(Outgoing { topic, payload: verdict.encode()? })
        };
        self.memory.verdicts().filter_map(outgoing).collect()
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
