//! Step 7, commit: from now on the new containers are the service.

use super::switch::already_so;
use super::{Begun, removed};
use crate::core::docker::inspect;
use crate::core::recreate::RestartPolicy;
use crate::core::update::plan::ImageSource;
use crate::engine::{Containers, Engine, EngineError};
use crate::execute::inspector::Inspector;
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, UpdateContext, images};
use crate::ports::Ports;

/// Sets the restart policy of the old containers to `no`, then gives the new ones their own
/// policies. After a power cut between the calls the Engine starts neither, or only dependents; the
/// recovery then starts the verified containers.
pub(in crate::execute) async fn commit<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    begun: Begun,
) -> Result<(), StepError> {
    let ports = context.ports;
    let (engine, plan, new) = (ports.engine(), inspector.plan(), inspector.new_ids()?);
    let has_policy = |number: &usize| !plan.member(*number).restart_policy.is_no();
    for number in inspector.members().into_iter().rev().filter(has_policy) {
        let old = &plan.member(number).old_container;
        engine.set_restart_policy(old, &RestartPolicy::no()).await.or_else(not_there)?;
    }
    for (number, id) in new.iter().filter(|(number, _)| has_policy(number)) {
        let policy = &plan.member(*number).restart_policy;
        let given = engine.set_restart_policy(id, policy).await;
        given.map_err(|error| removed(plan, begun, "new", error, *number))?;
    }
    // An Engine that has just restarted has started the old containers, not the verified ones.
    for number in plan.numbers().rev() {
        if inspector.old_runs(number).await? {
            stop_old_container(engine, plan.member(number)).await?;
        }
    }
    for (_, id) in &new {
        engine.start(id).await?;
    }
    for number in plan.job_numbers() {
        keep_job(context, inspector, number).await?;
    }
    move_tags(engine, inspector).await?;
    images::flush(ports).await
}

/// Lets the user's tags point at pushed images, which have proved themselves. Until now the tags of
/// the old images were in place, so that nothing else could start the new ones.
async fn move_tags<E: Engine>(engine: &E, inspector: Inspector<'_, E>) -> Result<(), EngineError> {
    for (number, _, update) in inspector.plan().changed() {
        let image = inspector.progress().known.new_image_of(number);
        if let (ImageSource::Pushed, Some(image), Some(tag)) =
            (update.source, image, &update.reference.tag)
        {
            engine.tag(image, &update.reference.familiar_name(), tag).await?;
        }
    }
    Ok(())
}

/// The copy of a job takes the place of the container that ended before, with its name and its
/// restart policy. Both have ended, so a clean-up or a person may have removed either. The update
/// does not depend on it.
async fn keep_job<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    number: usize,
) -> Result<(), StepError> {
    let (engine, plan) = (context.ports.engine(), inspector.plan());
    let member = plan.member(number);
    let Some(copy) = inspector.new_container(number).await? else { return Ok(()) };
    let id = inspect::id(&copy);
    if inspect::name(&copy) == member.container {
        return Ok(());
    }
    let named = async {
        if inspector.old_container(number).await?.is_some() {
            let parked = engine.rename(&member.old_container, &member.old_name()).await;
            parked.or_else(already_so)?;
        }
        engine.rename(id, &member.container).await.or_else(already_so)?;
        if !member.restart_policy.is_no() {
            engine.set_restart_policy(id, &member.restart_policy).await?;
        }
        Ok::<(), StepError>(())
    };
    match named.await {
        Err(StepError::Engine(error)) if !error.is_engine_unreachable() => {
            let detail = format!("the copy of the job keeps its name: {error}");
            context.warn(plan, plan.naming(number, detail));
            Ok(())
        }
        done => done,
    }
}

/// A container that is gone needs no policy.
fn not_there(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::NotFound { .. } => Ok(()),
        error => Err(error),
    }
}
