//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Agent, Request, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Report;
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
            Ok(recovered) => {
                self.publish(|snapshot| snapshot.is_ready = true);
                // What was shown of them before is no longer true.
                let ended = recovered.records.into_iter();
                let names: BTreeSet<_> = ended.map(|record| record.container).collect();
                if !names.is_empty() && self.snapshot.borrow().last_check.is_some() {
                    self.look_again_at(names).await;
                }
            }
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

    /// Reports on the services of a request that an update has left without any container of their
    /// name: nobody sees them in the Engine's list.
    pub(super) fn report_missing(
        &self,
        request: &Request,
        open: &BTreeMap<String, OpenUpdate>,
        reports: &mut Vec<Report>,
    ) -> Result<(), JournalError> {
        let is_missing = |name: &str| {
            request.names.as_ref().is_none_or(|names| names.contains(name))
                && !request.except.contains(name)
                && !reports.iter().any(|report| report.container == name)
        };
        let is_broken =
            |open: &OpenUpdate| matches!(open, OpenUpdate::Stuck(_) | OpenUpdate::Down(_));
        let missing: Vec<_> =
            open.iter().filter(|(name, open)| is_broken(open) && is_missing(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for journal in self.ports.state().open_journals()? {
            let plan = &journal.header.plan;
            for member in plan.numbers().map(|number| plan.member(number)) {
                let name = &member.container;
                if let Some((_, open)) = missing.iter().find(|(missing, _)| *missing == name) {
                    reports.push(Report::of_missing(name, &member.image, open));
                }
            }
        }
        reports.sort_by(|a, b| a.container.cmp(&b.container));
        Ok(())
    }

    /// The containers of updates that are open. One of which this process knows nothing was left by
    /// an earlier one; then the Engine tells whether its service runs.
    pub(super) async fn open_updates(&self) -> Result<BTreeMap<String, OpenUpdate>, JournalError> {
        let mut open = BTreeMap::new();
        for journal in self.ports.state().open_journals()? {
            let plan = &journal.header.plan;
            let state = match self.recovery.state_of(&plan.id) {
                Some(state) => state,
                None => recover::left_open(&*self.ports, &journal).await,
            };
            open.extend(plan.names().map(|name| (name.to_owned(), state.clone())));
        }
        Ok(open)
    }
}
