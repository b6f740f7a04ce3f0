//! Floor 2: finishes or undoes every update that was left open, before anything else is done.
//!
//! May be killed at any point and any number of times: all it does is written so that doing it
//! again changes nothing.
//!
//! [`Recovery`] is what the agent knows of open updates, a plain value of the loop. [`take_up`]
//! does the work, several updates side by side, and [`Recovery::settle`] takes in what came of it.

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
use crate::core::update::plan::Plan;
use crate::core::update::{Step, outcome};
use crate::engine::{Engine, EngineError, Listed};
use crate::execute::{Ended, StepError, Update, UpdateContext};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// Said of the update of the container in which this very agent runs.
const OWN_CONTAINER: &str = "the agent runs in this container and cannot replace it";

/// Said of an update that was cut short while its service was stopped.
const INTERRUPTED: &str = "the update was interrupted";

/// What became of the updates that were left open.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Those that ended now, one way or the other.
    pub records: Vec<Record>,
    /// Those that are still open, by container; each of their containers is named.
    pub open: BTreeMap<String, OpenUpdate>,
}

/// Why recovery could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The state directory.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The Engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Which open updates are taken up in one run, and which are left alone.
#[derive(Debug, Default)]
pub struct RecoveryRun {
    /// Updates that failed before, by the ID of their plan, with what is known of them: they are
    /// tried again after a pause.
    paused: BTreeMap<String, OpenUpdate>,
    /// What is known of the others that failed before.
    failed: BTreeMap<String, OpenUpdate>,
    /// Plans of updates that are in flight in this process.
    in_flight: BTreeSet<String>,
    /// Whether the Engine was away when this was tried last.
    awaits_engine: bool,
}

/// What came of one open update.
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
    /// How its containers stand now, if it is still open.
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

/// An update that could be neither finished nor undone now.
#[derive(Debug)]
pub struct Unfinished {
    journal: UpdateJournal,
    why: String,
    /// Whether the Engine was away, so that nothing more could be done.
    is_engine_unreachable: bool,
    /// Whether its service is down; absent if the Engine does not tell.
    is_down: Option<bool>,
}

/// Finds out how an update stands that neither way could finish.
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
    /// What the next run may take up. An update that failed before is tried again after a pause
    /// that grows, and at once if a person insists. It is never given up: an update that was left
    /// open may have left its service down.
    ///
    /// What is due now is due again a pause later, whatever becomes of this run: if it cannot even
    /// begin, the agent must not try it again at once, without end.
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

    /// Takes in what came of a run.
    pub fn settle<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        (run, taken_up): (&RecoveryRun, Vec<TakenUp>),
    ) -> Recovered {
        let mut recovered = Recovered::default();
        let ids: BTreeSet<_> = taken_up.iter().map(|one| one.plan.as_str()).collect();
        // An update in flight may have failed while this run went on.
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

    /// Whether an update was left open because the Engine was away: it is to be taken up as soon
    /// as the Engine is back, because until then its service may be down.
    #[must_use]
    pub const fn awaits_engine(&self) -> bool {
        self.awaits_engine
    }

    /// When the next try is due of what could be neither finished nor undone.
    #[must_use]
    pub fn next_try(&self) -> Option<Instant> {
        self.failed.values().map(Failed::next).min()
    }

    /// What is known of an update that could be neither finished nor undone; absent if this process
    /// has not tried.
    #[must_use]
    pub fn state_of(&self, id: &str) -> Option<OpenUpdate> {
        self.failed.get(id).map(Failed::open)
    }

    /// Counts an update that neither way could finish, and gives how it stands. After some tries it
    /// counts as stuck, and an event says so. What failed because the Engine was away does not
    /// count.
    pub fn note_unfinished<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        unfinished: &Unfinished,
    ) -> OpenUpdate {
        let Unfinished { journal, why, is_engine_unreachable, is_down } = unfinished;
        let header = &journal.header;
        let warn = |detail: String| {
            listener.hear(&Event::Warning { subject: Some(header.plan.subject()), detail });
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
            listener.hear(&Event::UpdateEnded(Box::new(record)));
        }
        failed.open()
    }
}

/// Finishes or undoes the open updates that a run may take up: side by side, except those that one
/// footprint shows to touch the same things.
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

/// Why an open update is not taken up in this run; absent if it is.
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
        // Boxed, because an update is by far the largest part of what waits here.
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

/// How an update stands that an earlier process left open, and that was not taken up yet.
pub async fn left_open<P: Ports>(ports: &P, journal: &UpdateJournal) -> OpenUpdate {
    let failed = journal.progress.failed.as_ref().map(|cause| cause.detail.clone());
    match is_down(ports, journal).await {
        Some(true) => OpenUpdate::Down(failed.unwrap_or_else(|| INTERRUPTED.to_owned())),
        Some(false) | None => OpenUpdate::InFlight,
    }
}

/// Whether an update has stopped its service, and nothing of it runs; absent if the Engine does not
/// tell.
async fn is_down<P: Ports>(ports: &P, journal: &UpdateJournal) -> Option<bool> {
    if journal.progress.begun < Some(Step::Switch) {
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
