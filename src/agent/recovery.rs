//! What earlier updates left behind: updates that are open, and containers that bear the names of
//! an update although no journal tells of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::RoundError;
use super::context::Context;
use super::executor::Executor;
use crate::core::decide::observation::OpenUpdate;
use crate::engine::{EngineError, Listed};
use crate::ports::Ports;
use crate::recover::{self, OrphanWatch, RecoveryRun, Sweep, TakenUp};

/// How often what was left behind is looked at while it is watched.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long a command without an agent watches it: longer than the default times of an update
/// together (stop 10 s, health 60 s and 30 s), and not as long as labels may ask for.
const WATCH_LIMIT: Duration = Duration::from_secs(10 * 60);

/// What came of everything that was left behind.
pub(super) struct Swept {
    /// What was taken up, and what was left alone.
    pub(super) run: RecoveryRun,
    pub(super) taken_up: Vec<TakenUp>,
    /// Services without a journal that are not to be touched; or why nothing was looked for.
    pub(super) untouched: Result<BTreeMap<String, OpenUpdate>, EngineError>,
}

impl Swept {
    /// The containers that are not to be touched, because their update is open or unproven.
    pub(super) fn open(&self) -> BTreeMap<String, OpenUpdate> {
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
    /// Finishes or undoes what was left open, and then puts right what has no journal. What is in
    /// flight in this process is left alone.
    pub(super) async fn recover_open(
        &mut self,
        run: RecoveryRun,
        in_flight: &BTreeSet<String>,
    ) -> Result<Swept, RoundError> {
        self.hold_engine_or_name_holder().await?;
        let taken_up = recover::take_up(self.context.for_updates(), &run).await?;
        let mut swept = Swept { run, taken_up, untouched: Ok(BTreeMap::new()) };
        let mut open = swept.open();
        open.extend(in_flight.iter().map(|name| (name.clone(), OpenUpdate::InFlight)));
        // What was taken up is told also if the Engine has gone away by now.
        swept.untouched = match self.context.list().await {
            Ok(list) => Ok(self.sweep(&open, &list).await),
            Err(error) => Err(error),
        };
        Ok(swept)
    }

    /// Containers with our names and no journal are put right, or are left alone: then their
    /// services are not to be touched either. A command without an agent watches them here; an
    /// agent that goes on comes again.
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
