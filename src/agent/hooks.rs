//! Hooks around a round. Those that may hold an update stand in its gate.

use std::sync::Arc;

use super::context::Context;
use super::facts::Names;
use crate::core::policy::hooks::Moment;
use crate::engine::EngineError;
use crate::exec::hook;
use crate::observe::{self, Cache};
use crate::ports::Ports;

impl<P: Ports> Context<P> {
    /// Whether hooks run around a round at all.
    pub(super) fn runs_hooks(&self) -> bool {
        self.settings.defaults.watchtower.as_ref().is_some_and(|it| it.runs_hooks)
    }

    /// Runs the hooks of this moment in all of these containers; says whether there were any. What
    /// goes wrong is said, and changes nothing.
    ///
    /// # Errors
    /// The Engine does not give its list.
    pub(super) async fn run_hooks(
        &self,
        moment: Moment,
        names: &Names,
        mut cache: Arc<Cache>,
    ) -> Result<bool, EngineError> {
        let list = self.list().await?;
        cache.learn_image_labels(self.ports.engine(), &list).await;
        let all = observe::hooks_at(&list, (&self.settings.defaults, &cache), moment);
        let are_any = !all.is_empty();
        for (name, id, hook) in all.into_iter().filter(|(name, ..)| names.contains(name)) {
            if let Err(why) = hook::run(&*self.ports, &self.stop, &id, &hook).await {
                self.warn_about(name, format!("the {moment} hook {why}"));
            }
        }
        Ok(are_any)
    }
}
