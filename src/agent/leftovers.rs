//! What earlier updates left behind: those that are open, and containers that bear our names.

use std::collections::BTreeMap;

use super::RoundError;
use super::context::Context;
use super::hands::Hands;
use crate::core::decide::observation::OpenUpdate;
use crate::engine::Listed;
use crate::recover::{self, Recovered};
use crate::world::Ports;

impl<P: Ports> Hands<P> {
    /// Finishes or undoes what was left open, given-up updates included where a person insists, and
    /// then puts right what has no journal. Gives what ended, and what is not to be touched.
    pub(super) async fn settle_leftovers(&mut self, insist: bool) -> Result<Recovered, RoundError> {
        let Context { ports, listener, stop, .. } = &self.context;
        let mut recovered = self.recovery.run(&**ports, &**listener, stop, insist).await?;
        let list = self.context.list().await?;
        self.sweep(&mut recovered.open, &list).await;
        Ok(recovered)
    }

    /// Containers with our names and no journal are put right, or belong to another agent: then
    /// their services are not to be touched either.
    async fn sweep(&self, open: &mut BTreeMap<String, OpenUpdate>, list: &[Listed]) {
        let left = recover::left_behind(list, open);
        if left.is_empty() {
            return;
        }
        let Context { ports, listener, settings, .. } = &self.context;
        let watch = settings.defaults.health_timeout + settings.defaults.health_stable;
        let elsewhere = recover::sweep(&**ports, &**listener, left, watch).await;
        open.extend(elsewhere.into_iter().map(|service| (service, OpenUpdate::Elsewhere)));
    }
}
