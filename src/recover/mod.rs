//! Layer 2: finishes or undoes every open update, before anything else is done.
//!
//! It may be killed at any point and any number of times: running it again changes nothing that is
//! already done.
//!
//! [`Recovery`] is what the agent knows of open updates, a plain value of the loop. [`take_up`]
//! does the work, several updates at the same time, and [`Recovery::settle`] records the results.

mod retry;
mod orphans;
mod orphan_watch;

pub use orphan_watch::OrphanWatch;
pub use orphans::{Sweep, left_behind};
use retry::Failed;
pub use retry::STUCK_AFTER;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::core::decide::observation::OpenUpdate;
use crate::core::update::event::{Event, Listener};
use crate::core::update::footprint::{Footprint, side_by_side};
use crate::core::update::history::Record;
use crate::core::update::outcome;
use crate::core::update::plan::Plan;
use crate::engine::{Containers, Engine, EngineError, Listed};
use crate::execute::{Ended, StepError, Update, UpdateContext};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// The reason for the update of the container in which this agent runs.
const OWN_CONTAINER: &str = "the agent runs in this container and cannot replace it";

/// The reason for an update that was interrupted while its service was stopped.
const INTERRUPTED: &str = "the update was interrupted";

/// The results of the open updates.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Updates that ended now, finished or rolled back.
    pub records: Vec<Record>,
    /// Updates that are still open, by each of their containers.
    pub open: BTreeMap<String, OpenUpdate>,
}

/// Why recovery could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Which open updates one run continues, and which it leaves alone.
#[derive(Debug, Default)]
pub struct RecoveryRun {
    /// Updates that failed before, by the ID of their plan, with their state: they are tried again
    /// after a pause.
    paused: BTreeMap<String, OpenUpdate>,
    /// The state of the others that failed before.
    failed: BTreeMap<String, OpenUpdate>,
    /// Plans of updates that run in this process.
    in_flight: BTreeSet<String>,
    /// Whether the Engine was away at the last try.
    awaits_engine: bool,
}

/// The result of one open update.
#[derive(Debug)]
pub struct TakenUp {
    /// The ID of its plan.
    plan: String,
    /// The names of its containers.
    names: Vec<String>,
    end: TakenUpEnd,
}

#[derive(Debug)]
enum TakenUpEnd {
    /// It ended.
    Ended(Box<Record>),
    /// It stays open, and was not tried, or the agent was asked to stop.
    Open(OpenUpdate),
    /// It waits for the Engine, which is away.
    EngineAway(OpenUpdate),
    /// It could be neither finished nor undone.
    Unfinished(Box<Unfinished>),
}

impl TakenUp {
    /// The state of its containers, if it is still open.
    #[must_use]
    pub fn open(&self) -> Option<OpenUpdate> {
        match &self.end {
            TakenUpEnd::Ended(_) => None,
            TakenUpEnd::Open(open) | TakenUpEnd::EngineAway(open) => Some(open.clone()),
            TakenUpEnd::Unfinished(unfinished) if unfinished.is_down == Some(true) => {
                Some(OpenUpdate::Down(unfinished.why.clone()))
            }
            TakenUpEnd::Unfinished(_) => Some(OpenUpdate::InFlight),
        }
    }

    /// The names of its containers.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// An update that could be neither finished nor undone.
#[derive(Debug)]
pub struct Unfinished {
    journal: UpdateJournal,
    why: String,
    /// Whether the Engine was away, so that nothing more was possible.
    is_engine_unreachable: bool,
    /// Whether its service is down; absent if the Engine does not say.
    is_down: Option<bool>,
}

/// Finds out the state of an update that could be neither finished nor undone.
pub async fn unfinished<P: Ports>(
    ports: &P,
    journal: UpdateJournal,
    error: &StepError,
) -> Unfinished {
    let is_engine_unreachable = error.is_engine_unreachable();
    let is_down = match is_engine_unreachable {
        true => None,
        false => is_down(ports, &journal).await,
    };
    Unfinished { journal, why: error.to_string(), is_engine_unreachable, is_down }
}

/// What this process knows of the updates that it could neither finish nor undo so far.
#[derive(Debug, Default)]
pub struct Recovery {
    /// By the ID of the plan.
    failed: BTreeMap<String, Failed>,
    awaits_engine: bool,
}

impl Recovery {
    /// The updates that the next run may continue. An update that failed before is tried again
    /// after a growing pause, and at once if a person insists. It is never given up, because its
    /// service may be down.
    ///
    /// An update that is due now gets its next pause at once, independent of the result of this
    /// run: if the run cannot even begin, the agent must not repeat it at once without a limit.
    pub fn begin_run(&mut self, insist: bool, in_flight: BTreeSet<String>) -> RecoveryRun {
        let now = Instant::now();
        let mut run =
            RecoveryRun { in_flight, awaits_engine: self.awaits_engine, ..RecoveryRun::default() };
        for (id, failed) in &mut self.failed {
            let is_paused = failed.next() > now;
            if !is_paused {
                failed.postpone(now);
            }
            let list = if is_paused && !insist { &mut run.paused } else { &mut run.failed };
            list.insert(id.clone(), failed.open());
        }
        run
    }

    /// Records the results of a run.
    pub fn settle<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        (run, taken_up): (&RecoveryRun, Vec<TakenUp>),
    ) -> Recovered {
        let mut recovered = Recovered::default();
        let ids: BTreeSet<_> = taken_up.iter().map(|one| one.plan.as_str()).collect();
        // A running update may have failed during this run.
        self.failed.retain(|id, _| ids.contains(id.as_str()) || run.in_flight.contains(id));
        self.awaits_engine &= !run.awaits_engine;
        for TakenUp { plan, names, end } in taken_up {
            let open = match end {
                TakenUpEnd::Ended(record) => {
                    self.failed.remove(&plan);
                    recovered.records.push(*record);
                    continue;
                }
                TakenUpEnd::Open(open) => open,
                TakenUpEnd::EngineAway(open) => {
                    self.awaits_engine = true;
                    open
                }
                TakenUpEnd::Unfinished(unfinished) => {
                    self.note_unfinished(ports, listener, &unfinished)
                }
            };
            recovered.open.extend(names.into_iter().map(|name| (name, open.clone())));
        }
        recovered
    }

    /// Whether an update is open because the Engine was away: it is continued as soon as the Engine
    /// is back, because its service may be down until then.
    #[must_use]
    pub const fn awaits_engine(&self) -> bool {
        self.awaits_engine
    }

    /// When the next try is due.
    #[must_use]
    pub fn next_try(&self) -> Option<Instant> {
        self.failed.values().map(Failed::next).min()
    }

    /// The state of an update that could be neither finished nor undone; absent if this process has
    /// not tried.
    #[must_use]
    pub fn state_of(&self, id: &str) -> Option<OpenUpdate> {
        self.failed.get(id).map(Failed::open)
    }

    /// Counts an update that could be neither finished nor undone, and returns its state. After
    /// some tries it counts as stuck, and an event reports it. A failure because the Engine was
    /// away does not count.
    pub fn note_unfinished<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        unfinished: &Unfinished,
    ) -> OpenUpdate {
        let Unfinished { journal, why, is_engine_unreachable, is_down } = unfinished;
        let header = &journal.header;
        let warn = |detail: String| {
            listener.receive(&Event::Warning { subject: Some(header.plan.subject()), detail });
        };
        warn(format!("the update could not be finished or undone: {why}"));
        if *is_engine_unreachable {
            self.awaits_engine = true;
            return self.state_of(&header.plan.id).unwrap_or(OpenUpdate::InFlight);
        }
        let now = Instant::now();
        let id = header.plan.id.clone();
        let failed = self.failed.entry(id).or_insert_with(|| Failed::new(now));
        failed.add(now, *is_down, why.clone());
        if failed.has_just_become_stuck() {
            let at = ports.host().now();
            let record = outcome::stuck(header, &journal.progress, at, (why, *is_down));
            if let Err(error) = ports.state().record(&record) {
                warn(error.to_string());
            }
            listener.receive(&Event::UpdateEnded(Box::new(record)));
        }
        failed.open()
    }
}

/// Finishes or undoes the open updates of a run: at the same time, except for updates with
/// conflicting footprints.
///
/// # Errors
/// The journals cannot be read.
pub async fn take_up<P: Ports>(
    context: UpdateContext<'_, P>,
    run: &RecoveryRun,
) -> Result<Vec<TakenUp>, RecoverError> {
    let ports = context.ports;
    let mut journals = ports.state().open_journals()?;
    journals.retain(|journal| !run.in_flight.contains(&journal.header.plan.id));
    // If the Engine is still away, each of them would wait for it.
    let is_still_away =
        run.awaits_engine && !journals.is_empty() && ports.engine().info().await.is_err();
    let mut taken_up = Vec::new();
    let mut due = Vec::new();
    for journal in journals {
        match left_alone(ports, run, &journal, is_still_away) {
            Some(end) => taken_up.push(TakenUp::of(&journal.header.plan, end)),
            None => due.push(journal),
        }
    }
    let groups = side_by_side(due, |journal| Footprint::of(&journal.header.plan));
    let ended = join_all(groups.into_iter().map(|group| take_up_in_turn(context, group))).await;
    taken_up.extend(ended.into_iter().flatten());
    Ok(taken_up)
}

/// Why an open update is not continued in this run; absent if it is.
fn left_alone<P: Ports>(
    ports: &P,
    run: &RecoveryRun,
    journal: &UpdateJournal,
    is_still_away: bool,
) -> Option<TakenUpEnd> {
    let id = &journal.header.plan.id;
    let known = run.paused.get(id).or_else(|| run.failed.get(id)).cloned();
    let is_own = ports.host().own_container().is_some_and(|own| journal.concerns(&own));
    if is_own {
        return Some(TakenUpEnd::Open(OpenUpdate::Stuck(OWN_CONTAINER.to_owned())));
    }
    let known = known.unwrap_or(OpenUpdate::InFlight);
    match (is_still_away, run.paused.contains_key(id)) {
        (true, _) => Some(TakenUpEnd::EngineAway(known)),
        (false, true) => Some(TakenUpEnd::Open(known)),
        (false, false) => None,
    }
}

async fn take_up_in_turn<P: Ports>(
    context: UpdateContext<'_, P>,
    journals: Vec<UpdateJournal>,
) -> Vec<TakenUp> {
    let mut taken_up = Vec::new();
    for journal in journals {
        let plan = journal.header.plan.clone();
        // Boxed, because an update is by far the largest future here.
        let end = match Box::pin(Update::of(context, journal).take_up()).await {
            Ended::Finished(record) => TakenUpEnd::Ended(record),
            Ended::Left => TakenUpEnd::Open(OpenUpdate::InFlight),
            Ended::Unfinished(journal, error) => {
                let unfinished = unfinished(context.ports, *journal, &error).await;
                TakenUpEnd::Unfinished(Box::new(unfinished))
            }
        };
        taken_up.push(TakenUp::of(&plan, end));
    }
    taken_up
}

impl TakenUp {
    fn of(plan: &Plan, end: TakenUpEnd) -> Self {
        let names = plan.names().map(str::to_owned).collect();
        Self { plan: plan.id.clone(), names, end }
    }
}

/// The state of an update that an earlier process left open, and that was not continued yet.
pub async fn left_open<P: Ports>(ports: &P, journal: &UpdateJournal) -> OpenUpdate {
    let failed = journal.progress.failed.as_ref().map(|cause| cause.detail.clone());
    match is_down(ports, journal).await {
        Some(true) => OpenUpdate::Down(failed.unwrap_or_else(|| INTERRUPTED.to_owned())),
        Some(false) | None => OpenUpdate::InFlight,
    }
}

/// Whether an update has stopped its service, and none of its containers runs; absent if the Engine
/// does not say.
async fn is_down<P: Ports>(ports: &P, journal: &UpdateJournal) -> Option<bool> {
    if !journal.progress.old_may_be_down() {
        return Some(false);
    }
    let mut running = ports.engine().list().await.ok()?;
    running.retain(|listed| listed.state == "running");
    let plan = &journal.header.plan;
    let serves = |number: usize| {
        let member = plan.member(number);
        let new = journal.progress.known.new_container_of(number);
        let is_it = |listed: &Listed| {
            listed.name == member.container
                || listed.id == member.old_container
                || Some(listed.id.as_str()) == new
        };
        running.iter().any(is_it)
    };
    Some(!plan.numbers().all(serves))
}
