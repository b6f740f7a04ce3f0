//! Pilotfish's own hooks during an update: right before the old container stops, after the new one
//! has passed its verification, and after a rollback.
//!
//! The entry of the step in which a hook runs is on the disk before the hook. A hook that was cut
//! off by the end of the agent runs again when the update continues, because it is not known how
//! far it came. Watchtower's post-update hook is in `verification/post_update.rs`.

use std::time::Duration;

use super::inspector::Inspector;
use super::{StepError, UpdateContext};
use crate::core::docker::inspect;
use crate::core::policy::hooks::{Hook, Moment};
use crate::core::update::fault;
use crate::exec::hook::{self, HookError};
use crate::ports::Ports;

/// How long a new container is watched after its required hook failed. A command also fails if its
/// container or the Engine ends, and its result comes a moment before the news of that end.
pub(super) const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs the pre-stop hooks, in the order in which the old containers stop. All of them run before
/// the first stop, so that a hook does not make the gap longer. A failed hook is reported, and the
/// stop follows.
pub(super) async fn run_pre_stop<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) -> Result<(), StepError> {
    for number in inspector.members().into_iter().rev() {
        let Some(hook) = &inspector.plan().member(number).hooks.pre_stop else { continue };
        // A stop that an earlier process asked for may have ended it.
        if inspector.old_runs(number).await? {
            let old = &inspector.plan().member(number).old_container;
            run(context, inspector, (number, old, hook, Moment::PreStop)).await?;
        }
    }
    Ok(())
}

/// Runs the required post-update hooks. Returns why the update fails because of one.
pub(super) async fn run_required<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    new: &[(usize, String)],
) -> Result<Option<StepError>, StepError> {
    for (number, id) in new {
        let hooks = &inspector.plan().member(*number).hooks;
        let Some(hook) = hooks.post_update.as_ref().filter(|_| hooks.is_post_update_required)
        else {
            continue;
        };
        let error = match hook::run(context.ports, context.stop, id, hook).await {
            Ok(()) => continue,
            Err(HookError::Asked) => return Err(StepError::Asked),
            Err(error) => error,
        };
        let detail = format!("the {} hook {error}", Moment::PostUpdate);
        let detail = inspector.plan().naming(*number, detail);
        return Ok(Some(match error {
            HookError::NotRun(error) if error.is_engine_unreachable() => error.into(),
            HookError::NotRun(_) => StepError::surroundings(detail),
            HookError::Failed(_) | HookError::Asked => {
                StepError::Cause(fault::of_image(inspector.plan(), *number, detail))
            }
        }));
    }
    Ok(None)
}

/// Runs the post-update hooks that are not required, after the commit: a hook may take an hour, and
/// a power cut in this time must not take a verified update back.
pub(super) async fn run_after_commit<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) -> Result<(), StepError> {
    for number in inspector.members() {
        let hooks = &inspector.plan().member(number).hooks;
        let hook = hooks.post_update.as_ref().filter(|_| !hooks.is_post_update_required);
        if let Some(hook) = hook {
            let new = inspector.new_id(number)?;
            run(context, inspector, (number, &new, hook, Moment::PostUpdate)).await?;
        }
    }
    Ok(())
}

/// Runs the post-rollback hooks in the old containers that serve again. Nothing was stopped before
/// the switch, so then there is nothing to run. A container that a person created is left alone.
pub(super) async fn run_post_rollback<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) -> Result<(), StepError> {
    if !inspector.progress().old_may_be_down() {
        return Ok(());
    }
    for number in inspector.plan().numbers() {
        let Some(hook) = &inspector.plan().member(number).hooks.post_rollback else { continue };
        let Some(holder) = inspector.name_holder(number).await? else { continue };
        let is_old = inspect::image_id(&holder) == inspector.header().old_image(number);
        let is_external = inspector.external_container(number, &[]).await?.is_some();
        if is_old && !is_external && inspect::is_running(&holder) {
            let id = inspect::id(&holder);
            run(context, inspector, (number, id, hook, Moment::PostRollback)).await?;
        }
    }
    Ok(())
}

/// Runs one hook. A failure is reported, and changes nothing.
async fn run<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    (number, container, hook, moment): (usize, &str, &Hook, Moment),
) -> Result<(), StepError> {
    match hook::run(context.ports, context.stop, container, hook).await {
        Ok(()) => Ok(()),
        Err(HookError::Asked) => Err(StepError::Asked),
        Err(error) => {
            let plan = inspector.plan();
            context.warn(plan, plan.naming(number, format!("the {moment} hook {error}")));
            Ok(())
        }
    }
}
