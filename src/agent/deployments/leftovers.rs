//! What an earlier process left behind: an image without a name, a pushed image that no container
//! runs, a first container without a verdict.

use std::collections::BTreeSet;

use crate::agent::Agent;
use crate::agent::context::Context;
use crate::core::docker::names::{PUSH_PATTERNS, is_push_name};
use crate::core::update::history::Record;
use crate::core::update::plan::ImageSource;
use crate::engine::Images;
use crate::execute::{self, end_first_start};
use crate::ports::Ports;

impl<P: Ports> Agent<P> {
    /// Removes what an earlier process left behind, once. Returns whether nothing is left.
    pub(in crate::agent) async fn sweep_pushes(&mut self) -> bool {
        let are_none = self.context.settings.defaults.deployments.is_empty();
        let is_swept = self.deployments.is_swept;
        if are_none || (is_swept && !self.deployments.may_come) {
            return true;
        }
        let is_at_work = self.deployments.loading.is_some()
            || !self.deployments.acting.is_empty()
            || self.asks.iter().any(|ask| ask.kind.is_push());
        if is_at_work || !matches!(self.hold_engine().await, Ok(None)) {
            return is_swept;
        }
        match Box::pin(self.context.sweep_pushes()).await {
            Ok((records, may_come)) => {
                records.iter().for_each(|record| self.tell_fleet(record));
                self.deployments.is_swept = true;
                self.deployments.may_come = may_come;
            }
            Err(error) => {
                let detail = format!("what an earlier push left behind is removed later: {error}");
                self.context.warn(detail);
            }
        }
        self.deployments.is_swept
    }
}

impl<P: Ports> Context<P> {
    /// Ends what is open. Images of updates with a journal are left to their updates. Returns also
    /// whether an image may still come from a load that a crash ended.
    async fn sweep_pushes(&self) -> Result<(Vec<Record>, bool), execute::LeftImageError> {
        let (state, engine) = (self.ports.state(), self.ports.engine());
        let journal = state.push_journal()?;
        let mut records = Vec::new();
        for (name, open) in &journal.first {
            match end_first_start(self.for_updates(), name, open).await {
                Ok(record) => records.push(record),
                Err(error) => return Err(execute::LeftImageError::First(error.to_string())),
            }
        }
        let may_come = execute::remove_late_images(&*self.ports).await?;
        let open = state.open_journals()?;
        let changed = open.iter().flat_map(|journal| journal.header.plan.changed());
        let pushed = changed.filter(|(_, _, update)| update.source == ImageSource::Pushed);
        let kept: BTreeSet<_> = pushed.map(|(_, it, update)| it.push_name(update)).collect();
        for pattern in PUSH_PATTERNS {
            for image in engine.list_images(pattern).await? {
                let is_left = |tag: &&String| is_push_name(tag) && !kept.contains(*tag);
                let left: Vec<_> = image.tags.iter().filter(is_left).collect();
                for tag in &left {
                    engine.remove_image(tag).await?;
                }
                if !left.is_empty() {
                    execute::drop_if_unused(engine, &image.id).await?;
                }
            }
        }
        Ok((records, may_come))
    }
}
