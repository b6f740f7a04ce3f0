//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Agent, Request, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Report;
use crate::engine::Listed;
use crate::journal::JournalError;
use crate::recover::{self, Recovered};
use crate::world::Ports;

impl<P: Ports> Agent<P> {
    /// Finishes or undoes what an earlier agent left open, without looking for news.
    pub(super) async fn recover_now(&mut self) {
        match self.settle_leftovers(false).await {
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
        &self,
        open: &mut BTreeMap<String, OpenUpdate>,
        list: &[Listed],
    ) -> bool {
        let left = recover::left_behind(list, open);
        if left.is_empty() {
            return false;
        }
        let watch = self.settings.defaults.health_timeout + self.settings.defaults.health_stable;
        let elsewhere = recover::sweep(&*self.ports, &*self.listener, left, watch).await;
        open.extend(elsewhere.into_iter().map(|service| (service, OpenUpdate::Elsewhere)));
        true
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
