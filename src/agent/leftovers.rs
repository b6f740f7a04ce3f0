//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::BTreeMap;

use super::{Agent, RoundError};
use crate::core::decide::observation::OpenUpdate;
use crate::engine::{EngineError, Listed};
use crate::journal::JournalError;
use crate::recover::{self, Recovered};
use crate::world::Ports;

impl<P: Ports> Agent<P> {
    /// Finishes or undoes what an earlier agent left open, without looking for news.
    pub(super) async fn recover_now(&mut self) {
        match self.try_to_recover().await {
            Ok(()) => self.publish(|snapshot| snapshot.is_ready = true),
            Err(error) => self.warn(format!("recovery waits for the next round: {error}")),
        }
    }

    async fn try_to_recover(&mut self) -> Result<(), RoundError> {
        let recovered = self.take_up().await?;
        let mut list = self.list().await?;
        self.sweep(recovered.open, &mut list).await?;
        Ok(())
    }

    /// Finishes or undoes every update that was left open. Nothing is asked where there is none.
    pub(super) async fn take_up(&mut self) -> Result<Recovered, RoundError> {
        let recovered = self.recovery.run(&*self.ports, &*self.listener, &self.stop, false).await?;
        self.show_stuck(&recovered.open);
        Ok(recovered)
    }

    /// Containers with our names and no journal are put right, or belong to another agent. Gives
    /// every service that is not to be touched in this round. The list is renewed if it has to be.
    pub(super) async fn sweep(
        &self,
        mut open: BTreeMap<String, OpenUpdate>,
        list: &mut Vec<Listed>,
    ) -> Result<BTreeMap<String, OpenUpdate>, EngineError> {
        let left = recover::left_behind(list, &open);
        if left.is_empty() {
            return Ok(open);
        }
        let watch = self.settings.defaults.health_timeout + self.settings.defaults.health_stable;
        let elsewhere = recover::sweep(&*self.ports, &*self.listener, left, watch).await;
        open.extend(elsewhere.into_iter().map(|service| (service, OpenUpdate::Elsewhere)));
        *list = self.list().await?;
        Ok(open)
    }

    /// The containers of updates that are open.
    pub(super) fn open_updates(&self) -> Result<BTreeMap<String, OpenUpdate>, JournalError> {
        let journals = self.ports.state().open_journals()?;
        let in_flight = |name: &str| (name.to_owned(), OpenUpdate::InFlight);
        Ok(journals.iter().flat_map(|it| it.header.plan.names()).map(in_flight).collect())
    }
}
