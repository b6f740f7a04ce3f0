//! Hooks around a round, and those that may hold an update.

use super::{Agent, Request, RoundError};
use crate::core::decide::No;
use crate::core::decide::reason::Reason;
use crate::core::policy::hooks::Moment;
use crate::core::update::event::Event;
use crate::core::update::plan::{Plan, Source};
use crate::execute::{self, Trouble};
use crate::hooks::{self, HookError};
use crate::host::Host;
use crate::observe;
use crate::world::Ports;

/// What comes of asking the hooks of an update.
pub(super) enum Asked {
    /// It may begin.
    Agreed,
    /// It may not begin now, by the word of a hook.
    Held(No),
    /// They could not be asked.
    Unasked,
}

impl<P: Ports> Agent<P> {
    /// Runs the hooks of this moment in all containers of a round; says whether there were any.
    /// What goes wrong is said, and changes nothing.
    pub(super) async fn run_hooks(
        &mut self,
        moment: Moment,
        request: &Request,
    ) -> Result<bool, RoundError> {
        let runs_hooks = self.settings.defaults.watchtower.as_ref().is_some_and(|it| it.runs_hooks);
        if !runs_hooks || request.dry_run {
            return Ok(false);
        }
        let list = self.list().await?;
        let all = observe::hooks_at(&list, (&self.settings.defaults, &self.cache), moment);
        let are_any = !all.is_empty();
        for (name, id, hook) in all {
            let is_meant = request.names.as_ref().is_none_or(|names| names.contains(&name));
            if !is_meant || request.except.contains(&name) {
                continue;
            }
            if let Err(why) = hooks::run(&*self.ports, &self.stop, &id, &hook).await {
                let detail = format!("the {moment} hook {why}");
                self.listener.hear(&Event::Warning { container: name, detail });
            }
        }
        Ok(are_any)
    }

    /// Asks the hooks of everybody who is to be replaced, those that stop first before the others.
    ///
    /// The image is fetched before, so that nothing but the switch itself stands between a hook and
    /// its container's end. It gets the name of one that waits, so that a hook that says no for
    /// days does not have it pulled again. There is no journal yet: a cut leaves nothing to undo.
    pub(super) async fn ask_hooks(&mut self, plan: &Plan) -> Asked {
        if !plan.has_pre_update_hooks() {
            return Asked::Agreed;
        }
        let container = &plan.main.container;
        if plan.source == Source::Registry {
            self.has_images_ahead = true;
            let image = (container.as_str(), &plan.reference, &plan.to);
            let fetched = execute::fetch_and_keep(&*self.ports, &*self.listener, &self.stop, image);
            if let Err(trouble) = fetched.await {
                let detail = format!("the image could not be fetched: {trouble}");
                if !matches!(trouble, Trouble::Asked) && !trouble.is_the_engine_away() {
                    let failed = plan.failed_try(detail.clone(), self.ports.host().now(), false);
                    self.pause_after(container, failed);
                }
                self.listener.hear(&Event::Warning { container: container.clone(), detail });
                return Asked::Unasked;
            }
        }
        for number in plan.numbers().rev() {
            let member = plan.member(number);
            let Some(hook) = &member.pre_update else { continue };
            match hooks::run(&*self.ports, &self.stop, &member.old_container, hook).await {
                Ok(()) => {}
                Err(HookError::Asked) => return Asked::Unasked,
                Err(HookError::Failed(why)) => {
                    let detail =
                        format!("the {} hook of {} {why}", Moment::PreUpdate, member.container);
                    return Asked::Held(No { reason: Reason::HeldByHook, detail, opens: None });
                }
            }
        }
        Asked::Agreed
    }
}
