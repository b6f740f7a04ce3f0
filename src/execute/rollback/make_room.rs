//! A container that a person or Compose created in place of a service during its update stays, and
//! is the service from then on.

use serde_json::Value;

use super::containers::give_up;
use crate::core::docker::inspect;
use crate::core::recreate::{
    self, CannotRecreate, Original, ReplacedContainer, RestartPolicy, depends_on_moved, relink,
};
use crate::engine::{Containers, Engine, EngineError};
use crate::execute::containers::create_on;
use crate::execute::inspector::Inspector;
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// Keeps the external container, and returns its ID. If it runs, it is the service, and the old
/// container is removed, because the Engine would start a parked one next to it at the next boot.
/// If it does not run, the old container runs under its parked name until a person decides.
pub(super) async fn make_room_for<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    number: usize,
    external: &Value,
    restored: &[ReplacedContainer],
) -> Result<String, StepError> {
    let (engine, plan) = (context.ports.engine(), inspector.plan());
    let old = inspector.old_container(number).await?;
    let name = &plan.member(number).container;
    let message = format!("another container named {name} was created during the update");
    let moved = all_moved(inspector, restored);
    if depends_on_moved(external, &moved).unwrap_or(false) {
        let detail =
            format!("{message}, and depends on a new one that is removed; it is created again");
        context.warn(plan, detail);
        let id = recreate_external(engine, name, external, &moved).await?;
        give_up(engine, inspector, number).await?;
        return Ok(id);
    }
    if !inspect::is_running(external) {
        if let Some(old) = &old {
            engine.start(inspect::id(old)).await?;
        }
        return Err(EngineError::Conflict { message }.into());
    }
    context.warn(plan, format!("{message}; it is the service now"));
    give_up(engine, inspector, number).await?;
    Ok(inspect::id(external).to_owned())
}

/// The container that replaces each old and each new one of this update. The new ones are removed.
fn all_moved(
    inspector: Inspector<'_, impl Engine>,
    restored: &[ReplacedContainer],
) -> Vec<ReplacedContainer> {
    let known = &inspector.progress().known;
    let new = restored.iter().enumerate().filter_map(|(number, moved)| {
        let from = known.new_container_of(number)?.to_owned();
        Some(ReplacedContainer { from, ..moved.clone() })
    });
    new.chain(restored.iter().cloned()).collect()
}

/// A dependent that a person created depends on a container that is removed, so it could not start
/// any more: it is created again with the same configuration, and depends on the container that
/// serves. After a power cut in the middle the name is free, and the old container is created again
/// there.
async fn recreate_external(
    engine: &impl Engine,
    name: &str,
    external: &Value,
    moved: &[ReplacedContainer],
) -> Result<String, StepError> {
    let (id, image_id) = (inspect::id(external), inspect::image_id(external));
    let image = engine.inspect_image(image_id).await?.unwrap_or_default();
    let api = engine.info().await?.api;
    let original = Original { container: external, image: &image, api };
    let cannot = |error: CannotRecreate| StepError::surroundings(error.to_string());
    let policy = recreate::restart_policy(external).map_err(cannot)?;
    let recreation = recreate::recreate(&original).map_err(cannot)?;
    if inspect::is_running(external) {
        engine.set_restart_policy(id, &RestartPolicy::no()).await?;
        engine.stop(id, inspect::stop_timeout(external)).await?;
    }
    engine.remove(id, false).await?;
    let made = create_on(engine, name, relink(&recreation, moved), image_id).await?;
    engine.start(&made).await?;
    if !policy.is_no() {
        engine.set_restart_policy(&made, &policy).await?;
    }
    Ok(made)
}
