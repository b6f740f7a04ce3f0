//! The leftovers of earlier updates: open updates, and containers with the names of an update that
//! no journal explains.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::executor::Executor;
use crate::agent::RoundError;
use crate::agent::context::Context;
use crate::core::decide::observation::OpenUpdate;
use crate::engine::{EngineError, Listed};
use crate::ports::Ports;
use crate::recover::{self, OrphanWatch, RecoveryRun, Sweep, TakenUp};

/// How often orphans are checked while the agent watches them.
pub(in crate::agent) const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long a command without an agent watches them: longer than the default times of an update
/// together (stop 10 s, health 60 s and 30 s), but not as long as labels can ask for.
const WATCH_LIMIT: Duration = Duration::from_secs(10 * 60);

/// The result of a recovery.
pub(in crate::agent) struct Swept {
    /// The updates that this recovery resumes or leaves alone.
    pub(in crate::agent) run: RecoveryRun,
    pub(in crate::agent) taken_up: Vec<TakenUp>,
    /// Services with orphans that must not be touched; or why the list is not known.
    pub(in crate::agent) untouched: Result<BTreeMap<String, OpenUpdate>, EngineError>,
}

impl Swept {
    /// The containers that must not be touched, because their update is open or their orphans are
    /// unproven.
    pub(in crate::agent) fn open(&self) -> BTreeMap<String, OpenUpdate> {
        let mut open = match &self.untouched {
            Ok(untouched) => untouched.clone(),
            Err(_) => BTreeMap::new(),
        };
        for one in &self.taken_up {
            let state = one.open();
            let named =
                |state: OpenUpdate| one.names().iter().map(move |it| (it.clone(), state.clone()));
            open.extend(state.into_iter().flat_map(named));
        }
        open
    }
}

impl<P: Ports> Executor<P> {
    /// Finishes or undoes open updates, and then repairs containers without a journal. Leaves the
    /// updates in flight of this process alone.
    pub(in crate::agent) async fn recover_open(
        &mut self,
        run: RecoveryRun,
        in_flight: &BTreeSet<String>,
    ) -> Result<Swept, RoundError> {
        self.hold_engine_or_name_holder().await?;
        let taken_up = recover::take_up(self.context.for_updates(), &run).await?;
        let mut swept = Swept { run, taken_up, untouched: Ok(BTreeMap::new()) };
        let mut open = swept.open();
        open.extend(in_flight.iter().map(|name| (name.clone(), OpenUpdate::InFlight)));
        // The results of the open updates are returned even if the Engine has gone away by now.
        swept.untouched = match self.context.list().await {
            Ok(list) => Ok(self.sweep(&open, &list).await),
            Err(error) => Err(error),
        };
        Ok(swept)
    }

    /// Repairs containers that have our names and no journal, or leaves them alone; then their
    /// services must not be touched either. A command without an agent watches them here until it
    /// knows; an agent checks them again later.
    async fn sweep(
        &mut self,
        open: &BTreeMap<String, OpenUpdate>,
        list: &[Listed],
    ) -> BTreeMap<String, OpenUpdate> {
        let mut left = recover::left_behind(list, open);
        if left.is_empty() {
            self.sightings = OrphanWatch::default();
            return BTreeMap::new();
        }
        let begun = Instant::now();
        loop {
            if !matches!(self.keep_engine_lock().await, Ok(None)) {
                return left.into_iter().map(|it| (it, OpenUpdate::Elsewhere)).collect();
            }
            let untouched = self.sweep_once(left.clone()).await;
            let is_over = !self.sightings.is_watching()
                || self.context.is_resident
                || self.context.stop.is_cancelled()
                || begun.elapsed() >= WATCH_LIMIT;
            if is_over {
                return untouched;
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Ok(list) = self.context.list().await {
                left = recover::left_behind(&list, open);
            }
        }
    }

    async fn sweep_once(&mut self, left: BTreeSet<String>) -> BTreeMap<String, OpenUpdate> {
        let Context { ports, listener, settings, .. } = &self.context;
        let sweep = Sweep {
            ports: &**ports,
            listener: &**listener,
            defaults: &settings.defaults,
            sightings: &mut self.sightings,
        };
        sweep.run(left).await
    }
}
