//! Floor 2: finishes or undoes every update that was left open, before anything else is done.
//!
//! May be killed at any point and any number of times: all it does is written so that doing it
//! again changes nothing.

mod sweep;
mod watch;

pub use sweep::{Sweep, left_behind};
pub use watch::Sightings;

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::core::decide::observation::OpenUpdate;
use crate::core::update::ending;
use crate::core::update::event::{Event, Listener};
use crate::core::update::history::Record;
use crate::core::update::plan::Plan;
use crate::engine::EngineError;
use crate::execute::{Ended, Trouble, Update};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::world::Ports;

/// How often an update is taken up before a person is needed.
pub const TRIES_MAX: u32 = 3;

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

    fn leave_open(&mut self, plan: &Plan, open: OpenUpdate) {
        self.open.extend(plan.names().map(|name| (name.to_owned(), open)));
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

/// Takes up what was left open, and remembers how often that was in vain.
#[derive(Debug, Default)]
pub struct Recovery {
    failures: BTreeMap<String, u32>,
    awaits_the_engine: bool,
}

impl Recovery {
    /// Finishes or undoes every open update. One that failed three times since the agent started is
    /// only tried again where a person insists.
    ///
    /// # Errors
    /// The journals cannot be read, or the Engine does not answer.
    pub async fn run<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        stop: &CancellationToken,
        insist: bool,
    ) -> Result<Recovered, RecoverError> {
        if insist {
            self.failures.clear();
        }
        self.awaits_the_engine = false;
        let mut recovered = Recovered::default();
        for journal in ports.state().open_journals()? {
            let plan = &journal.header.plan;
            // Nobody replaces the container it runs in: a helper was of no use here.
            let is_own = ports.host().own_container().is_some_and(|own| journal.concerns(&own));
            if is_own || self.has_given_up(&plan.id) {
                recovered.leave_open(plan, OpenUpdate::Stuck);
                continue;
            }
            match Update::of(ports, listener, stop, journal.clone()).take_up().await {
                Ended::Finished(record) => recovered.records.push(*record),
                Ended::Left => recovered.leave_open(plan, OpenUpdate::InFlight),
                Ended::Unfinished(trouble) => {
                    let open = self.failed(ports, listener, &journal, &trouble)?;
                    recovered.leave_open(plan, open);
                }
            }
        }
        Ok(recovered)
    }

    /// Whether an update was left open because the Engine was away: it is to be taken up as soon
    /// as the Engine is back, because until then its service may be down.
    #[must_use]
    pub const fn awaits_the_engine(&self) -> bool {
        self.awaits_the_engine
    }

    /// Counts an update that neither way could finish. The third time it is stuck, and loud. What
    /// failed because the Engine was away does not count.
    ///
    /// # Errors
    /// The history cannot be written.
    pub fn failed<P: Ports>(
        &mut self,
        ports: &P,
        listener: &dyn Listener,
        journal: &UpdateJournal,
        trouble: &Trouble,
    ) -> Result<OpenUpdate, JournalError> {
        let header = &journal.header;
        let container = header.plan.main.container.clone();
        let detail = format!("the update could not be finished or undone: {trouble}");
        listener.hear(&Event::Warning { container, detail });
        if trouble.is_the_engine_away() {
            self.awaits_the_engine = true;
            return Ok(OpenUpdate::InFlight);
        }
        *self.failures.entry(header.plan.id.clone()).or_default() += 1;
        if !self.has_given_up(&header.plan.id) {
            return Ok(OpenUpdate::InFlight);
        }
        let record =
            ending::stuck(header, &journal.progress, ports.host().now(), &trouble.to_string());
        ports.state().record(&record)?;
        listener.hear(&Event::UpdateEnded(Box::new(record)));
        Ok(OpenUpdate::Stuck)
    }

    fn has_given_up(&self, id: &str) -> bool {
        self.failures.get(id).is_some_and(|failures| *failures >= TRIES_MAX)
    }
}
