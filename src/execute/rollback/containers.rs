//! The rollback of containers: the old ones get their names back, run again, and get their restart
//! policies back.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::make_room::make_room_for;
use super::{LEFT_AWAY, Rollback, images};
use crate::core::docker::inspect;
use crate::core::recreate::{ReplacedContainer, RestartPolicy, relink};
use crate::core::update::plan::Plan;
use crate::core::update::rollback::is_as_healthy_as_before;
use crate::core::update::{Mark, MemberState, Note, Step};
use crate::engine::{Containers, Engine, EngineError};
use crate::exec;
use crate::execute::containers::create_on;
use crate::execute::inspector::Inspector;
use crate::execute::steps::{Begun, is_restart_policy_armed};
use crate::execute::stop::stop_old_container;
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// How long the old container may take to become as healthy as it was.
const RETURN_TIMEOUT: Duration = Duration::from_secs(60);

/// How often its health is checked during this time.
const RETURN_INTERVAL: Duration = Duration::from_millis(250);

impl<P: Ports> Rollback<'_, P> {
    /// Restores the old containers, each after those it depends on: their names, their processes,
    /// their restart policies. Returns the container that serves for each member now, or nothing if
    /// the service stays down.
    pub(super) async fn restore_old_containers(
        &mut self,
    ) -> Result<Vec<ReplacedContainer>, StepError> {
        self.await_running_stops().await?;
        let (context, inspector) = (self.context, self.inspector());
        let mut restored: Vec<ReplacedContainer> = Vec::new();
        let mut ours = Vec::new();
        for number in inspector.plan().numbers() {
            let id = match inspector.external_container(number, &restored).await? {
                Some(external) => {
                    make_room_for(context, inspector, number, &external, &restored).await?
                }
                None => match restore_old_container(context, inspector, number, &restored).await? {
                    Some(id) => {
                        ours.push(number);
                        id
                    }
                    None => return Ok(Vec::new()),
                },
            };
            restored.push(inspector.plan().replaced_by(number, id));
        }
        self.note_return(&restored).await;
        let inspector = self.inspector();
        for number in ours {
            let id = &restored[number].to;
            let policy = &inspector.plan().member(number).restart_policy;
            if !policy.is_no() {
                self.engine().set_restart_policy(id, policy).await?;
            }
            await_former_health(self.context, inspector, number, id).await?;
        }
        Ok(restored)
    }

    /// The gap ends when they serve again, not when the last image is removed.
    async fn note_return(&mut self, restored: &[ReplacedContainer]) {
        let is_first = !self.journal.progress.is_restored;
        let gap_milliseconds = match restored.first() {
            Some(main) if is_first => {
                let host = self.context.ports.host();
                self.gap.milliseconds(self.inspector(), host, &main.to).await
            }
            _ => None,
        };
        self.note(Step::Switch, Mark::UndoDone, Note { gap_milliseconds, ..Note::default() });
    }

    /// Waits for the end of a stop that may still be in progress. A client that is killed or loses
    /// its connection does not cancel its stop, so the old container could end after it was seen to
    /// run. A second stop waits for the end of the first. A container that cannot be stopped keeps
    /// running, which is right in a rollback.
    async fn await_running_stops(&self) -> Result<(), StepError> {
        let inspector = self.inspector();
        if !is_restart_policy_armed(inspector).await? {
            return Ok(());
        }
        let may_be_asked = (self.gap.has_begun() || self.begun == Begun::Earlier)
            && inspector.progress().is_in_switch();
        for number in inspector.plan().numbers().rev() {
            let MemberState { old, old_was_started_again, .. } =
                inspector.member_state(number).await?;
            let is_asked = may_be_asked && !old_was_started_again;
            if !old.is_some_and(|old| is_asked && old.running) {
                continue;
            }
            match stop_old_container(self.engine(), inspector.plan().member(number)).await {
                Err(error) if error.is_engine_unreachable() => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Restores one of them, and returns its ID. `restored` are those before it. Returns nothing if a
/// person removed everything that it needs.
async fn restore_old_container<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    number: usize,
    restored: &[ReplacedContainer],
) -> Result<Option<String>, StepError> {
    let engine = context.ports.engine();
    let old = inspector.old_container(number).await?;
    if let Some(old) = &old
        && inspector.header().depends_as_before(number, old, restored)
    {
        let id = inspect::id(old).to_owned();
        take_name(engine, inspector, number, &id).await?;
        engine.start(&id).await?;
        return Ok(Some(id));
    }
    give_up(engine, inspector, number).await?;
    let is_nothing_left = old.is_none()
        && inspector.plan().members.len() == 1
        && inspector.name_holder(number).await?.is_none();
    let id = recreate_old_container(context, inspector, number, restored).await?;
    take_name(engine, inspector, number, &id).await?;
    match engine.start(&id).await {
        // Not only the old container is gone, but also a thing that it cannot start without, such
        // as its network: a person removed the whole project, and starts it again themselves.
        Err(error) if error.is_not_found() && is_nothing_left => {
            context.warn(inspector.plan(), format!("{LEFT_AWAY}: {error}"));
            engine.remove(&id, false).await?;
            Ok(None)
        }
        started => Ok(started.map(|()| Some(id))?),
    }
}

/// The old container was removed under its parked name (`system prune` does that), or no longer
/// depends on the right container. Its inspect document and its image are kept, so it is created
/// again, with its volumes.
async fn recreate_old_container<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    number: usize,
    restored: &[ReplacedContainer],
) -> Result<String, StepError> {
    if let Some(update) = inspector.plan().member(number).update() {
        images::restore_tag(context, inspector, (number, update)).await?;
    }
    let image = inspector.header().old_image(number);
    let holder = inspector.name_holder(number).await?;
    if let Some(found) = holder.filter(|it| inspect::image_id(it) == image) {
        return Ok(inspect::id(&found).to_owned());
    }
    let member = inspector.plan().member(number);
    let recreation = relink(&member.recreation, restored);
    let id = create_on(context.ports.engine(), &member.container, recreation, image).await?;
    let detail = "the old container had been removed; it was created again from its kept image";
    context.warn(inspector.plan(), inspector.plan().naming(number, detail));
    Ok(id)
}

/// Removes the old container of a member; its volumes stay.
pub(super) async fn give_up<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
) -> Result<(), StepError> {
    let Some(old) = inspector.old_container(number).await? else { return Ok(()) };
    let id = inspect::id(&old);
    engine.set_restart_policy(id, &RestartPolicy::no()).await?;
    stop_old_container(engine, inspector.plan().member(number)).await?;
    engine.remove(id, false).await?;
    Ok(())
}

/// Gives a container the name of its service. A container that has the name and is not part of this
/// update is external, and stays.
pub(super) async fn take_name<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
    id: &str,
) -> Result<(), StepError> {
    let name = &inspector.plan().member(number).container;
    match inspector.name_holder(number).await? {
        Some(holder) if inspect::id(&holder) == id => Ok(()),
        Some(_) => Err(EngineError::Conflict {
            message: format!("another container named {name} was created during the update"),
        }
        .into()),
        None => Ok(engine.rename(id, name).await?),
    }
}

/// Waits until an old container is as healthy as it was before the update. There is no other
/// container to restore, so an unhealthy one is reported and kept.
async fn await_former_health<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
    number: usize,
    id: &str,
) -> Result<(), EngineError> {
    let original = inspector.header().original_of(number);
    let deadline = Instant::now() + RETURN_TIMEOUT;
    loop {
        let document = context.ports.engine().inspect(id).await?.unwrap_or_default();
        if is_as_healthy_as_before(original, &document)
            && is_probe_answered(context, inspector.plan(), number, &document).await
        {
            return Ok(());
        }
        if Instant::now() >= deadline || context.stop.is_cancelled() {
            let detail = "the old container runs again, but is not as healthy as before";
            context.warn(inspector.plan(), inspector.plan().naming(number, detail));
            return Ok(());
        }
        tokio::time::sleep(RETURN_INTERVAL).await;
    }
}

/// Whether the probe of a start-first update finds the old container ready. Until then the new one
/// keeps serving beside it. Without a new one beside it, nothing waits for the probe.
async fn is_probe_answered<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &Plan,
    number: usize,
    document: &Value,
) -> bool {
    match &plan.member(number).health.probe {
        Some(probe) if plan.strategy.starts_first() => {
            let id = inspect::id(document);
            exec::probe::run(context.ports, id, document, probe).await.is_ok()
        }
        _ => true,
    }
}
