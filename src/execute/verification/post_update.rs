//! Watchtower's hooks, which run in new containers after their start, during their trial.
//!
//! They belong to the operator, not to the image: a failed hook is reported, and changes nothing.
//! Each begins once, because the entry of the first verification is on the disk before. A resumed
//! update knows from it that the hooks began, and reports that it does not know how they ended.

use crate::core::policy::hooks::{Hook, Moment};
use crate::core::update::plan::Plan;
use crate::exec::hook::{self, HookError};
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// The warning about a hook that an earlier process began; it is not run again.
const CUT_SHORT: &str = "began before the update was interrupted, and may not have ended; it is not \
                         run again";

/// Remembers whether this process has begun the post-update hooks of its update.
#[derive(Debug, Default)]
pub(in crate::execute) struct PostUpdateHooks {
    have_begun: bool,
}

/// A hook, and the new container in which it runs.
pub(super) struct DueHook {
    number: usize,
    container: String,
    hook: Hook,
}

impl PostUpdateHooks {
    /// The hooks to run now: all of them the first time, then none. `new` are the new containers,
    /// and `verifications` counts how often a verification was begun.
    pub(super) fn due<P: Ports>(
        &mut self,
        context: UpdateContext<'_, P>,
        (plan, verifications): (&Plan, u32),
        new: &[(usize, String)],
    ) -> Vec<DueHook> {
        let hooks = new.iter().filter_map(|(number, id)| {
            let hook = plan.member(*number).post_update.clone()?;
            Some(DueHook { number: *number, container: id.clone(), hook })
        });
        let hooks: Vec<_> = hooks.collect();
        let had_begun = std::mem::replace(&mut self.have_begun, true);
        if verifications <= 1 {
            return hooks;
        }
        if !had_begun {
            hooks.iter().for_each(|due| complain(context, plan, due.number, CUT_SHORT));
        }
        Vec::new()
    }
}

/// Runs the hooks of all new containers, each after those of the containers it depends on.
pub(super) async fn run<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
    hooks: Vec<DueHook>,
) -> Result<(), StepError> {
    for DueHook { number, container, hook } in hooks {
        match hook::run(context.ports, context.stop, &container, &hook).await {
            Ok(()) => {}
            Err(HookError::Asked) => return Err(StepError::Asked),
            Err(error) => complain(context, plan, number, &error.to_string()),
        }
    }
    Ok(())
}

fn complain<P: Ports>(context: UpdateContext<'_, P>, plan: &Plan, number: usize, why: &str) {
    context.warn(plan, plan.naming(number, format!("the {} hook {why}", Moment::PostUpdate)));
}
