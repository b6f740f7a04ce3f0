//! Hooks around a round, and those that may hold an update.

use std::sync::Arc;

use super::context::Context;
use super::facts::Names;
use crate::core::decide::No;
use crate::core::policy::hooks::Moment;
use crate::core::update::plan::{ImageSource, Plan};
use crate::engine::EngineError;
use crate::exec::hook::{self, HookError};
use crate::execute::{self, StepError};
use crate::host::Host;
use crate::observe::{self, Cache};
use crate::ports::Ports;

/// The answer of the pre-update hooks of an update.
pub(super) enum HookAnswer {
    /// It may begin.
    Agreed,
    /// A hook said no.
    Held(No),
    /// They could not be asked, or the image could not be pulled before.
    NotAsked,
}

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

    /// Asks the pre-update hooks of all members, in the order in which they stop.
    ///
    /// The image is fetched before, so that nothing but the switch itself stands between a hook and
    /// its container's end. It gets the name of one that waits, so that a hook that says no for
    /// days does not have it pulled again. There is no journal yet: a cut leaves nothing to undo.
    pub(super) async fn ask_hooks(&self, plan: &Plan) -> HookAnswer {
        if !plan.has_pre_update_hooks() {
            return HookAnswer::Agreed;
        }
        let Self { ports, stop, .. } = self;
        let container = &plan.main.container;
        if plan.source == ImageSource::Registry {
            let image = (container.as_str(), &plan.reference, &plan.to);
            if let Err(error) = execute::prefetch_and_tag(self.for_updates(), image).await {
                let detail = format!("the image could not be fetched: {error}");
                if !matches!(error, StepError::Asked) && !error.is_engine_unreachable() {
                    let failed = plan.failed_try(detail.clone(), ports.host().now(), false);
                    self.pause_after(container, failed);
                }
                self.warn_about(container.clone(), detail);
                return HookAnswer::NotAsked;
            }
        }
        for number in plan.numbers().rev() {
            let member = plan.member(number);
            let Some(hook) = &member.pre_update else { continue };
            match hook::run(&**ports, stop, &member.old_container, hook).await {
                Ok(()) => {}
                Err(HookError::Asked) => return HookAnswer::NotAsked,
                Err(HookError::Failed(why)) => {
                    return HookAnswer::Held(No::held_by_hook(&member.container, &why));
                }
            }
        }
        HookAnswer::Agreed
    }
}
