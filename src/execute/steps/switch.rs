//! Step 4, switch: stops the old containers, and gives their names to the new ones.

use super::{Begun, removed};
use crate::core::docker::inspect;
use crate::core::recreate::{RestartPolicy, restart_policy};
use crate::core::time::duration::format_duration;
use crate::core::update::history::Cause;
use crate::engine::{Containers, Engine, EngineError};
use crate::execute::compose_race::let_compose_finish;
use crate::execute::external_changes::{check_no_new_dependents, check_old_containers_run};
use crate::execute::inspector::Inspector;
use crate::execute::start_requirements::check_start_requirements;
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, UpdateContext, images};
use crate::ports::Ports;

/// Checks again, after a wait, what was checked before the new containers were created.
pub(in crate::execute) async fn check_nothing_changed<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) -> Result<(), StepError> {
    let_compose_finish(inspector, context.stop).await?;
    check_no_new_dependents(context.ports.engine(), inspector).await?;
    check_old_containers_run(inspector).await?;
    let new: Vec<_> = inspector.new_ids()?.into_iter().map(|(_, id)| id).collect();
    check_start_requirements(context.ports, inspector, &new).await
}

/// Checks that no old container has locked its update since it was decided.
pub(in crate::execute) async fn check_unlocked<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
) -> Result<(), StepError> {
    let plan = inspector.plan();
    for (name, id, path) in plan.locks() {
        if engine.stat(id, path).await?.is_some() {
            let detail = format!("the container locked its update: {path} exists");
            let is_named = !plan.subject.is_container(name);
            let detail = if is_named { format!("{name}: {detail}") } else { detail };
            return Err(StepError::Cause(Cause::lock(detail)));
        }
    }
    Ok(())
}

/// Sets the restart policy of the old containers, and flushes it: until the commit the Engine
/// itself starts the old containers after a power cut.
pub(in crate::execute) async fn arm_restart_policy<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    begun: Begun,
) -> Result<(), StepError> {
    inspector.new_ids()?;
    let (policy, plan) = (second_net(inspector), inspector.plan());
    let mut is_armed = false;
    for number in inspector.members() {
        let member = plan.member(number);
        if !member.restart_policy.is_no() {
            let old = &member.old_container;
            let armed = context.ports.engine().set_restart_policy(old, &policy).await;
            armed.map_err(|error| removed(plan, begun, "old", error, number))?;
            is_armed = true;
        }
    }
    if is_armed {
        images::flush(context.ports).await?;
    }
    warn_of_shortened_stops(context, inspector);
    Ok(())
}

/// Stops the old containers and gives them their parked names, and gives their names to the new
/// ones. Dependents stop before the containers they depend on. Names change after the stop, because
/// the Engine's DNS forgets a name at once.
pub(in crate::execute) async fn stop_and_rename<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    begun: Begun,
) -> Result<(), StepError> {
    stop_members(engine, inspector, begun).await?;
    // None of them runs now, so a clean-up may have removed one: that is no word of a person.
    let plan = inspector.plan();
    rename(engine, inspector, |error, which, number| {
        if !error.is_not_found() {
            return error.into();
        }
        let detail = format!("the {which} container was removed while it was stopped");
        StepError::Cause(Cause::interrupted(plan.naming(number, detail)))
    })
    .await
}

/// The same in the other order, when the new containers serve already: a client that knows them by
/// the name of the container finds one of the two at any time, but for the moment between the
/// renames.
pub(in crate::execute) async fn rename_and_stop<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    begun: Begun,
) -> Result<(), StepError> {
    let plan = inspector.plan();
    rename(engine, inspector, |error, which, number| removed(plan, begun, which, error, number))
        .await?;
    stop_members(engine, inspector, begun).await
}

/// Gives the names. `gone` says what it means that the old or the new container of a member is not
/// there.
async fn rename<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    gone: impl Fn(EngineError, &'static str, usize) -> StepError,
) -> Result<(), StepError> {
    let plan = inspector.plan();
    for (number, new) in inspector.new_ids()? {
        let member = plan.member(number);
        let parked = engine.rename(&member.old_container, &member.old_name()).await;
        parked.or_else(already_so).map_err(|error| gone(error, "old", number))?;
        let named = engine.rename(&new, &member.container).await.or_else(already_so);
        named.map_err(|error| match error.is_not_found() {
            true => gone(error, "new", number),
            false => taken(error, &member.container),
        })?;
    }
    Ok(())
}

/// Stops the old containers, dependents before the containers they depend on.
pub(in crate::execute) async fn stop_members<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    begun: Begun,
) -> Result<(), StepError> {
    let plan = inspector.plan();
    for number in inspector.members().into_iter().rev() {
        let stopped = stop_old_container(engine, plan.member(number)).await;
        stopped.map_err(|error| removed(plan, begun, "old", error, number))?;
    }
    Ok(())
}

/// Reports containers that get less time to stop than their own stop timeout.
fn warn_of_shortened_stops<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) {
    for number in inspector.members() {
        let original = inspector.header().original_of(number);
        if inspect::stop_timeout_is_shortened(original) {
            let granted = format_duration(inspect::stop_timeout(original));
            let detail = format!(
                "its stop timeout has no limit or is longer than a day; it is killed after {granted}"
            );
            context.warn(inspector.plan(), inspector.plan().naming(number, detail));
        }
    }
}

/// The restart policy of the old containers until the commit: Docker's restart policy as a safety
/// net. With live-restore the new container may outlive the Engine; `unless-stopped` remembers that
/// the old one was stopped, so that two never run.
fn second_net(inspector: Inspector<'_, impl Engine>) -> RestartPolicy {
    let live_restore = inspector.header().live_restore;
    RestartPolicy::named(if live_restore { "unless-stopped" } else { "always" })
}

/// Whether all old containers that exist have it. Nothing is stopped before that.
pub(in crate::execute) async fn is_restart_policy_armed(
    inspector: Inspector<'_, impl Engine>,
) -> Result<bool, StepError> {
    let policy = second_net(inspector);
    for number in inspector.members() {
        if inspector.plan().member(number).restart_policy.is_no() {
            continue;
        }
        let old = inspector.old_container(number).await?;
        let now = old.and_then(|old| restart_policy(&old).ok());
        if now.is_some_and(|now| now != policy) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn taken(error: EngineError, name: &str) -> StepError {
    match error {
        EngineError::Conflict { .. } => StepError::Cause(Cause::person(format!(
            "a person or another program created another container named {name} during the update"
        ))),
        error => error.into(),
    }
}

/// Renaming a container to the name that it already has is a conflict with itself. Whether it is a
/// conflict with another container shows at the next step.
pub(super) fn already_so(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::Refused { status: 400, .. } => Ok(()),
        error => Err(error),
    }
}
