//! The device in its fleet, as the loop sees it: whose turn it is, and what messages change. The
//! rules are in `core/fleet`. Here the agent asks them, keeps their memory on disk, and shows what
//! they say.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::round::{QueuedRound, Reply};
use super::{Agent, FleetNews, FleetStep, RoundRequest};
use crate::core::decide::observation::Observation;
use crate::core::decide::report::Report;
use crate::core::decide::snapshot::FleetSnapshot;
use crate::core::decide::{Circumstances, Decision, fleet_turn};
use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::announcements::KnownDigests;
use crate::core::fleet::memory::FleetMemory;
use crate::core::fleet::state::{Delivery, Effect, FleetMembership, FleetState};
use crate::core::subject::Subject;
use crate::core::update::event::Trigger;
use crate::core::update::history::{Cause, Outcome, Record};
use crate::host::Host;
use crate::journal::JournalError;
use crate::observe;
use crate::ports::Ports;

/// Shortest time between two writes of what the device remembers: messages of a hostile broker must
/// not wear out an SD card. A stop that was heard is in force at once.
const SAVE_PAUSE: Duration = Duration::from_secs(5);

/// The pause after a disk refused the write: it is told each time.
const REFUSED_SAVE_PAUSE: Duration = Duration::from_secs(300);

/// The fleet of this device.
pub(super) struct Fleet {
    state: FleetState,
    /// The zero of the times that the rules count.
    begun: Instant,
    /// The updates that wait for their turn, by container.
    waiting: BTreeMap<String, WaitingTurn>,
    /// When the memory may be written again.
    may_save_at: Instant,
}

/// An update that waits for its turn.
struct WaitingTurn {
    reference: Reference,
    digest: Digest,
    /// The device's place, counted from 1; absent if only a stop holds the update.
    place: Option<u32>,
}

impl Fleet {
    fn new(membership: FleetMembership, memory: FleetMemory) -> Self {
        let state = FleetState::new(membership, memory, Duration::ZERO);
        let begun = Instant::now();
        Self { state, begun, waiting: BTreeMap::new(), may_save_at: begun }
    }

    fn snapshot(&self, now: DateTime<Utc>) -> FleetSnapshot {
        let since = |elapsed| TimeDelta::from_std(elapsed).ok().map(|elapsed| now - elapsed);
        let place =
            |(name, turn): (&String, &WaitingTurn)| Some((Subject::container(name), turn.place?));
        FleetSnapshot {
            verdicts: self.state.verdicts(),
            stopped_since: self.state.stopped_for().and_then(since),
            discovery_left: self.state.discovery_left().map(str::to_owned),
            places: self.waiting.iter().filter_map(place).collect(),
        }
    }
}

impl<P: Ports> Agent<P> {
    /// Makes the agent a member of a fleet.
    ///
    /// # Errors
    /// What it remembers of the fleet cannot be read.
    pub fn with_fleet(mut self, membership: FleetMembership) -> Result<Self, JournalError> {
        let memory = self.context.ports.state().fleet_memory()?;
        self.fleet = Some(Fleet::new(membership, memory));
        self.show_fleet();
        Ok(self)
    }

    /// Follows the references of the containers that are there at the start: a push may be
    /// announced before the first round.
    pub(super) async fn follow_at_start(&mut self) {
        if self.fleet.is_none() {
            return;
        }
        let Ok(list) = self.list().await else { return };
        let references = RefCell::new(Vec::new());
        let is_meant = |reference: &Reference| {
            references.borrow_mut().push(reference.clone());
            false
        };
        let watched = (list.as_slice(), &self.context.settings.defaults);
        let ports = &*self.context.ports;
        observe::following(ports, &mut self.cache, watched, is_meant).await;
        if let Some(fleet) = &mut self.fleet {
            fleet.state.follow(&references.into_inner());
        }
        self.keep_fleet();
    }

    /// The watched containers are known completely: what the rules know of others is forgotten.
    pub(super) fn follow_in_fleet(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        let snapshot = self.snapshot.borrow().clone();
        let references: Vec<Reference> =
            snapshot.reports.iter().filter_map(|report| report.image.parse().ok()).collect();
        fleet.state.follow(&references);
        let names: BTreeSet<_> =
            snapshot.reports.iter().map(|report| report.subject.name.as_str()).collect();
        fleet.waiting.retain(|name, _| names.contains(name.as_str()));
    }

    /// The decision after the question to the fleet: a "no" while it is not this device's turn.
    pub(super) fn after_turn(
        &mut self,
        observation: &Observation,
        decision: Decision,
        circumstances: &Circumstances,
    ) -> Decision {
        let Some(fleet) = &mut self.fleet else { return decision };
        fleet.waiting.remove(&observation.name);
        let Some((reference, digest)) = fleet_turn::subject_to_turn(&decision) else {
            return decision;
        };
        fleet.state.begin_following(reference);
        let report = fleet.state.turn(reference, digest, fleet.begun.elapsed());
        let Some(no) = fleet_turn::held(&report, circumstances) else { return decision };
        let waiting = WaitingTurn {
            reference: reference.clone(),
            digest: digest.clone(),
            place: report.stage.map(|stage| stage.place()),
        };
        fleet.waiting.insert(observation.name.clone(), waiting);
        Decision::No(no)
    }

    /// Takes news of the broker, and says what follows from it.
    pub(super) async fn take_fleet_news(
        &mut self,
        news: &FleetNews,
        trigger: Trigger,
    ) -> FleetStep {
        let Some(fleet) = &mut self.fleet else { return FleetStep::Nothing };
        let now = fleet.begun.elapsed();
        let FleetNews::Message { topic, payload, is_retained } = news else {
            fleet.state.note_broker(*news == FleetNews::Connected(true));
            self.keep_fleet();
            return FleetStep::Nothing;
        };
        let delivery = Delivery { topic, payload, is_retained: *is_retained };
        let snapshot = self.snapshot.borrow().clone();
        let known = |reference: &Reference| known_digests(reference, &snapshot.reports);
        match fleet.state.receive(delivery, known, now) {
            Ok(Effect::Look(reference, at)) => FleetStep::Look(reference, at.saturating_sub(now)),
            Ok(Effect::NoLook(why)) => FleetStep::NoLook(why),
            Ok(Effect::Command(command)) => FleetStep::Command(command),
            Ok(Effect::Nothing) => FleetStep::Nothing,
            Ok(Effect::AskTurns) => {
                self.ask_turns_again(trigger).await;
                FleetStep::Nothing
            }
            Err(why) => FleetStep::Ignored(why),
        }
    }

    /// Asks again for the turns of the updates that wait, because verdicts or the stop changed. A
    /// container whose turn has come is checked. For the others only the reason and its words
    /// change; no registry is asked.
    async fn ask_turns_again(&mut self, trigger: Trigger) {
        let circumstances = self.circumstances(&RoundRequest::default());
        let Some(fleet) = &mut self.fleet else { return };
        let (state, now) = (&mut fleet.state, fleet.begun.elapsed());
        let mut due = BTreeSet::new();
        let mut changed = BTreeMap::new();
        for (name, turn) in &fleet.waiting {
            let report = state.turn(&turn.reference, &turn.digest, now);
            match fleet_turn::held(&report, &circumstances) {
                Some(no) => _ = changed.insert(name.clone(), no),
                None => _ = due.insert(name.clone()),
            }
        }
        for (name, no) in changed {
            if let Some(at) = no.opens {
                self.pending.wait(&name, at);
            }
            self.say_again(&name, |report| report.with_no(no.reason, &no.detail));
        }
        self.keep_fleet();
        let busy = self.busy_names();
        due.retain(|name| !busy.contains(name));
        if !due.is_empty() {
            let request = RoundRequest { names: Some(due), ..RoundRequest::default() };
            self.begin(QueuedRound::new(request, trigger, Reply::Nobody), None).await;
        }
    }

    /// Replaces the report on a container in the snapshot.
    fn say_again(&self, name: &str, again: impl FnOnce(&Report) -> Report) {
        self.snapshot.send_if_modified(|snapshot| {
            let position = snapshot.reports.iter().position(|it| it.subject.is_container(name));
            let Some(position) = position else { return false };
            let report = again(&snapshot.reports[position]);
            let is_news = report != snapshot.reports[position];
            if is_news {
                Arc::make_mut(snapshot).reports[position] = report;
            }
            is_news
        });
    }

    /// A person allows the offered image of a container on this device, whatever the verdicts of
    /// other devices say. Returns whether it waited for its turn.
    pub(super) fn allow_in_fleet(&mut self, name: &str) -> bool {
        let Some(fleet) = &mut self.fleet else { return false };
        let Some(WaitingTurn { reference, digest, .. }) = fleet.waiting.get(name) else {
            return false;
        };
        fleet.state.allow(reference, digest);
        self.keep_fleet();
        true
    }

    /// An update has ended: the device may have a verdict for others.
    pub(super) fn tell_fleet(&mut self, record: &Record) {
        let Some(fleet) = &mut self.fleet else { return };
        for (subject, image, to) in record.images() {
            let (Ok(reference), Some(digest)) = (image.parse(), to) else { continue };
            // The disk is read only if the image may be at fault.
            let is_refused = || {
                let memory = self.context.ports.state().memory().unwrap_or_default();
                memory.refusal(&subject, digest).is_some()
            };
            let is_blamed = record.outcome != Outcome::Updated && is_refused();
            let cause = is_blamed.then(|| Cause::image(record.reason.clone().unwrap_or_default()));
            fleet.state.note_ended(&reference, digest, (record.outcome, cause.as_ref()));
        }
        self.keep_fleet();
    }

    /// Keeps what the rules remember, and shows it.
    pub(super) fn keep_fleet(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        fleet.state.advance_to(fleet.begun.elapsed());
        let may_save = self.context.ports.state().is_owner() && fleet.may_save_at <= Instant::now();
        if may_save && fleet.state.must_be_saved() {
            fleet.may_save_at = Instant::now() + SAVE_PAUSE;
            match self.context.ports.state().remember_fleet(fleet.state.memory()) {
                Ok(()) => fleet.state.note_saved(),
                Err(error) => {
                    fleet.may_save_at = Instant::now() + REFUSED_SAVE_PAUSE;
                    let detail = format!("the state of the fleet cannot be kept: {error}");
                    self.context.warn(detail);
                }
            }
        }
        self.show_fleet();
    }

    /// The agent ends: keeps what the rules remember without a pause.
    pub(super) fn keep_fleet_at_end(&mut self) {
        if let Some(fleet) = &mut self.fleet {
            fleet.may_save_at = Instant::now();
        }
        self.keep_fleet();
    }

    /// When the memory of the fleet must be written, if it waits for that.
    pub(super) fn fleet_save_at(&self) -> Option<Instant> {
        let fleet = self.fleet.as_ref().filter(|fleet| fleet.state.must_be_saved())?;
        Some(fleet.may_save_at)
    }

    fn show_fleet(&self) {
        let now = self.context.ports.host().now();
        let shown = self.fleet.as_ref().map(|fleet| fleet.snapshot(now));
        if self.snapshot.borrow().fleet != shown {
            self.publish(|snapshot| snapshot.fleet = shown);
        }
    }
}

/// What the containers of a reference run, and what was offered to them.
fn known_digests(reference: &Reference, reports: &[Report]) -> KnownDigests {
    let follows = |report: &&Report| {
        let image = report.image.parse::<Reference>();
        image.is_ok_and(|image| image.same_tag(reference))
    };
    let reports: Vec<_> = reports.iter().filter(follows).collect();
    // A digest counts only if it is that of every container of the reference.
    let common = |digest: fn(&Report) -> Option<&Digest>| {
        let first = reports.first().and_then(|report| digest(report))?;
        reports.iter().all(|report| digest(report) == Some(first)).then(|| first.clone())
    };
    KnownDigests {
        running: common(|report| report.running.as_ref()).into_iter().collect(),
        judged: common(|report| report.offered.as_ref()).into_iter().collect(),
    }
}
