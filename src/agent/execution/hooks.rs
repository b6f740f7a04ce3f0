//! The hooks before and after a round. The hooks that can hold an update are in its gate.

use std::sync::Arc;

use crate::agent::context::Context;
use crate::agent::round::facts::Names;
use crate::core::policy::hooks::Moment;
use crate::engine::EngineError;
use crate::exec::hook;
use crate::observe::{self, Cache};
use crate::ports::Ports;

impl<P: Ports> Context<P> {
    /// Whether hooks before and after a round are switched on.
    pub(in crate::agent) fn runs_hooks(&self) -> bool {
        self.settings.defaults.watchtower.as_ref().is_some_and(|it| it.runs_hooks)
    }

    /// Runs the hooks of this moment in all of these containers. Returns whether there were any. A
    /// hook that fails is reported and changes nothing.
    ///
    /// # Errors
    /// The Engine did not return its list of containers.
    pub(in crate::agent) async fn run_hooks(
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
