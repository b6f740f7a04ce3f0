//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::BTreeMap;

use super::{Agent, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::engine::Listed;
use crate::journal::JournalError;
use crate::recover::{self, Recovered};
use crate::world::Ports;

impl<P: Ports> Agent<P> {
    /// Finishes or undoes what an earlier agent left open, without looking for news.
    pub(super) async fn recover_now(&mut self) {
        match self.settle_leftovers(false).await {
            Ok(_) => self.publish(|snapshot| snapshot.is_ready = true),
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

    /// The containers of updates that are open.
    pub(super) fn open_updates(&self) -> Result<BTreeMap<String, OpenUpdate>, JournalError> {
        let journals = self.ports.state().open_journals()?;
        let in_flight = |name: &str| (name.to_owned(), OpenUpdate::InFlight);
        Ok(journals.iter().flat_map(|it| it.header.plan.names()).map(in_flight).collect())
    }
}
