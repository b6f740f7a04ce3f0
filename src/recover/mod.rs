//! Floor 2: finishes or undoes every update that was left open, before anything else is done.
//!
//! May be killed at any point and any number of times: all it does is written so that doing it
//! again changes nothing.

mod retry;
mod orphans;
mod orphan_watch;

pub use orphan_watch::OrphanWatch;
pub use orphans::{Sweep, left_behind};
use retry::Failed;
pub use retry::STUCK_AFTER;

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::core::decide::observation::OpenUpdate;
use crate::core::update::event::Event;
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

impl Recovered {
    /// Whether nothing had been left open, so that nothing was done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.records.is_empty() && self.open.is_empty()
    }

    fn leave_open(&mut self, plan: &Plan, open: &OpenUpdate) {
        self.open.extend(plan.names().map(|name| (name.to_owned(), open.clone())));
    }
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

/// Takes up what was left open, as often as it takes.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What could be neither finished nor undone so far, by the ID of its plan.
    failed: BTreeMap<String, Failed>,
    awaits_engine: bool,
}

impl Recovery {
    /// Finishes or undoes every open update. One that failed before is tried again after a pause
    /// that grows, and at once where a person insists. It is never given up: an update that was
    /// left open may have left its service down.
    ///
    /// # Errors
    /// The journals cannot be read, or the Engine does not answer.
    pub async fn run<P: Ports>(
        &mut self,
        context: UpdateContext<'_, P>,
        insist: bool,
    ) -> Result<Recovered, RecoverError> {
        let ports = context.ports;
        let mut recovered = Recovered::default();
        let paused = self.begin_tries(Instant::now());
        let journals = ports.state().open_journals()?;
        let ids: BTreeSet<_> = journals.iter().map(|it| it.header.plan.id.as_str()).collect();
        self.failed.retain(|id, _| ids.contains(id.as_str()));
        // An Engine that stays away would be waited for in each of them.
        let is_still_away = self.awaits_engine && ports.engine().info().await.is_err();
        self.awaits_engine = is_still_away && !journals.is_empty();
        for journal in journals {
            let plan = &journal.header.plan;
            let is_own = ports.host().own_container().is_some_and(|own| journal.concerns(&own));
            if is_own {
                recovered.leave_open(plan, &OpenUpdate::Stuck(OWN_CONTAINER.to_owned()));
            } else if is_still_away || (!insist && paused.contains(&plan.id)) {
                recovered
                    .leave_open(plan, &self.state_of(&plan.id).unwrap_or(OpenUpdate::InFlight));
            } else {
                self.take_up(context, journal, &mut recovered).await;
            }
        }
        Ok(recovered)
    }

    async fn take_up<P: Ports>(
        &mut self,
        context: UpdateContext<'_, P>,
        journal: UpdateJournal,
        recovered: &mut Recovered,
    ) {
        let plan = &journal.header.plan;
        match Update::of(context, journal.clone()).take_up().await {
            Ended::Finished(record) => {
                self.failed.remove(&plan.id);
                recovered.records.push(*record);
            }
            Ended::Left => recovered.leave_open(plan, &OpenUpdate::InFlight),
            Ended::Unfinished(journal, error) => {
                let open = self.failed(context, &journal, &error).await;
                recovered.leave_open(plan, &open);
            }
        }
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

    /// What is known of an update that could be neither finished nor undone; nothing where this
    /// process has not tried.
    #[must_use]
    pub fn state_of(&self, id: &str) -> Option<OpenUpdate> {
        self.failed.get(id).map(Failed::open)
    }

    /// Counts an update that neither way could finish, and says how it stands. After some tries it
    /// counts as stuck, and is loud. What failed because the Engine was away does not count.
    pub async fn failed<P: Ports>(
        &mut self,
        context: UpdateContext<'_, P>,
        journal: &UpdateJournal,
        error: &StepError,
    ) -> OpenUpdate {
        let UpdateContext { ports, listener, .. } = context;
        let header = &journal.header;
        let container = header.plan.main.container.clone();
        let why = error.to_string();
        let warn = |detail: String| {
            listener.hear(&Event::Warning { container: container.clone(), detail });
        };
        warn(format!("the update could not be finished or undone: {why}"));
        if error.is_engine_unreachable() {
            self.awaits_engine = true;
            return self.state_of(&header.plan.id).unwrap_or(OpenUpdate::InFlight);
        }
        let is_down = is_down(ports, journal).await;
        let now = Instant::now();
        let id = header.plan.id.clone();
        let failed = self.failed.entry(id).or_insert_with(|| Failed::new(now));
        failed.add(now, is_down, why.clone());
        if failed.has_just_become_stuck() {
            let at = ports.host().now();
            let record = outcome::stuck(header, &journal.progress, at, (&why, is_down));
            if let Err(error) = ports.state().record(&record) {
                warn(error.to_string());
            }
            listener.hear(&Event::UpdateEnded(Box::new(record)));
        }
        failed.open()
    }

    /// Gives what is not due yet. The others are due again a pause later, whatever becomes of this
    /// try: where it cannot even begin, the agent must not turn in a circle.
    fn begin_tries(&mut self, now: Instant) -> BTreeSet<String> {
        let (paused, due): (Vec<_>, Vec<_>) =
            self.failed.iter_mut().partition(|(_, failed)| failed.next() > now);
        due.into_iter().for_each(|(_, failed)| failed.postpone(now));
        paused.into_iter().map(|(id, _)| id.clone()).collect()
    }
}

/// How an update stands that an earlier process left open, and that nobody has taken up yet.
pub async fn left_open<P: Ports>(ports: &P, journal: &UpdateJournal) -> OpenUpdate {
    let failed = journal.progress.failed.as_ref().map(|cause| cause.detail.clone());
    match is_down(ports, journal).await {
        Some(true) => OpenUpdate::Down(failed.unwrap_or_else(|| INTERRUPTED.to_owned())),
        Some(false) | None => OpenUpdate::InFlight,
    }
}

/// Whether an update has stopped its service, and nothing of it runs; nothing where the Engine does
/// not tell.
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
