//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::RoundError;
use super::context::Context;
use super::executor::Executor;
use crate::core::decide::observation::OpenUpdate;
use crate::engine::Listed;
use crate::ports::Ports;
use crate::recover::{self, OrphanWatch, Recovered, Sweep};

/// How often what was left behind is looked at while it is watched.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long a command that ends afterwards watches it: longer than the default times of an update
/// take together (stop 10 s, health 60 s and 30 s), and not as long as labels may ask for.
const WATCH_LIMIT: Duration = Duration::from_secs(10 * 60);

impl<P: Ports> Executor<P> {
    /// Finishes or undoes what was left open, given-up updates included where a person insists, and
    /// then puts right what has no journal. Gives what ended, and what is not to be touched.
    pub(super) async fn recover_open(&mut self, insist: bool) -> Result<Recovered, RoundError> {
        self.hold_engine_or_name_holder().await?;
        let mut recovered = self.recovery.run(self.context.for_updates(), insist).await?;
        let list = self.context.list().await?;
        self.sweep(&mut recovered.open, &list).await;
        Ok(recovered)
    }

    /// Containers with our names and no journal are put right, or are left alone: then their
    /// services are not to be touched either. A command that ends afterwards watches them here; the
    /// agent that runs for good comes again.
    async fn sweep(&mut self, open: &mut BTreeMap<String, OpenUpdate>, list: &[Listed]) {
        let mut left = recover::left_behind(list, open);
        if left.is_empty() {
            self.sightings = OrphanWatch::default();
            return;
        }
        let begun = Instant::now();
        loop {
            if !matches!(self.keep_engine_lock().await, Ok(None)) {
                open.extend(left.into_iter().map(|service| (service, OpenUpdate::Elsewhere)));
                return;
            }
            let untouched = self.sweep_once(left.clone()).await;
            let is_over = !self.sightings.is_watching()
                || self.context.is_resident
                || self.context.stop.is_cancelled()
                || begun.elapsed() >= WATCH_LIMIT;
            if is_over {
                return open.extend(untouched);
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
