//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Agent, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::engine::Listed;
use crate::journal::JournalError;
use crate::recover::{self, Recovered, Sightings, Sweep};
use crate::world::Ports;

/// How often what was left behind is looked at while it is watched.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// How long a command that ends afterwards watches it: longer than the default times of an update
/// take together (stop 10 s, health 60 s and 30 s), and not as long as labels may ask for.
const WATCH_LIMIT: Duration = Duration::from_secs(10 * 60);

impl<P: Ports> Agent<P> {
    /// Finishes or undoes what an earlier agent left open, without looking for news.
    pub(super) async fn recover_now(&mut self) {
        match self.settle_leftovers(false).await {
            // It was told who it is.
            Err(RoundError::AnotherAgent(_)) => {}
            Ok(_) => self.publish(|snapshot| snapshot.is_ready = true),
            Err(error) => self.warn(format!("recovery waits for the next round: {error}")),
        }
    }

    /// The same, given-up updates included where a person insists. Gives what ended, and what is
    /// not to be touched.
    pub(super) async fn settle_leftovers(&mut self, insist: bool) -> Result<Recovered, RoundError> {
        self.hold_the_engine_or_say_who().await?;
        let mut recovered = self.take_up(insist).await?;
        let list = self.list().await?;
        self.sweep(&mut recovered.open, &list).await;
        Ok(recovered)
    }

    /// Finishes or undoes every update that was left open. Nothing is asked where there is none.
    pub(super) async fn take_up(&mut self, insist: bool) -> Result<Recovered, RoundError> {
        let Self { ports, listener, stop, .. } = self;
        let recovered = self.recovery.run(&**ports, &**listener, stop, insist).await?;
        self.show_stuck(&recovered.open);
        Ok(recovered)
    }

    /// Containers with our names and no journal are put right, or belong to another agent: then
    /// their services are not to be touched either. `true` if there were any, so that the list
    /// holds no more.
    pub(super) async fn sweep(
        &mut self,
        open: &mut BTreeMap<String, OpenUpdate>,
        list: &[Listed],
    ) -> bool {
        let mut left = recover::left_behind(list, open);
        if left.is_empty() {
            self.sightings = Sightings::default();
            return false;
        }
        let begun = Instant::now();
        loop {
            if !matches!(self.hold_the_engine_still().await, Ok(None)) {
                open.extend(left.into_iter().map(|service| (service, OpenUpdate::Elsewhere)));
                return true;
            }
            let untouched = self.sweep_once(left.clone()).await;
            let is_over = !self.sightings.is_watching()
                || self.is_resident
                || self.stop.is_cancelled()
                || begun.elapsed() >= WATCH_LIMIT;
            if is_over {
                open.extend(untouched);
                return true;
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
            if let Ok(list) = self.list().await {
                left = recover::left_behind(&list, open);
            }
        }
    }

    async fn sweep_once(&mut self, left: BTreeSet<String>) -> BTreeMap<String, OpenUpdate> {
        let sweep = Sweep {
            ports: &*self.ports,
            listener: &*self.listener,
            defaults: &self.settings.defaults,
            sightings: &mut self.sightings,
        };
        sweep.run(left).await
    }

    /// What was left behind, as far as names tell: a look touches nothing, so it proves nothing.
    pub(super) fn note_what_was_left_behind(
        open: &mut BTreeMap<String, OpenUpdate>,
        list: &[Listed],
    ) {
        let left = recover::left_behind(list, open);
        open.extend(left.into_iter().map(|service| (service, OpenUpdate::Unproven)));
    }

    /// The containers of updates that are open.
    pub(super) fn open_updates(&self) -> Result<BTreeMap<String, OpenUpdate>, JournalError> {
        let journals = self.ports.state().open_journals()?;
        let in_flight = |name: &str| (name.to_owned(), OpenUpdate::InFlight);
        Ok(journals.iter().flat_map(|it| it.header.plan.names()).map(in_flight).collect())
    }
}
