//! Step 3, create: the new containers next to the old ones.

use crate::core::docker::inspect;
use crate::core::recreate::{self, ReplacedContainer, relink};
use crate::core::update::plan::{ImageSource, Member};
use crate::core::update::{Note, healthcheck};
use crate::engine::Engine;
use crate::execute::compose_race::let_compose_finish;
use crate::execute::external_changes::check_no_new_dependents;
use crate::execute::inspector::Inspector;
use crate::execute::start_requirements::check_start_requirements;
use crate::execute::{StepError, UpdateContext, containers};
use crate::ports::Ports;

/// Creates the new containers next to the old ones, under their own names and with the restart
/// policy `no`. Each depends on the new ones before it.
pub(in crate::execute) async fn create<P: Ports>(
    context: UpdateContext<'_, P>,
    inspector: Inspector<'_, P::Engine>,
) -> Result<Note, StepError> {
    let (engine, plan) = (context.ports.engine(), inspector.plan());
    let_compose_finish(inspector, context.stop).await?;
    check_no_new_dependents(engine, inspector).await?;
    let mut moved = Vec::new();
    for number in plan.numbers() {
        let new = create_beside(engine, inspector, number, &moved).await?;
        moved.push(plan.replaced_by(number, new));
    }
    let mut new_containers: Vec<_> = moved.into_iter().map(|moved| moved.to).collect();
    check_start_requirements(context.ports, inspector, &new_containers).await?;
    for number in plan.job_numbers() {
        new_containers.push(create_job(engine, inspector, number).await?);
    }
    Ok(Note { new_containers, ..Note::default() })
}

/// Creates the copy of a job. It depends on the old containers, which serve while it runs.
pub(in crate::execute) async fn create_job<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
) -> Result<String, StepError> {
    create_beside(engine, inspector, number, &[]).await
}

async fn create_beside<E: Engine>(
    engine: &E,
    inspector: Inspector<'_, E>,
    number: usize,
    moved: &[ReplacedContainer],
) -> Result<String, StepError> {
    let plan = inspector.plan();
    let member = plan.member(number);
    let name = member.new_name();
    let mut recreation = relink(&member.recreation, moved);
    let starts_first = plan.strategy.starts_first();
    if starts_first {
        recreation = recreate::beside(&recreation);
    }
    check_names_are_free(engine, member).await?;
    let (image, id) = if let Some(update) = member.update() {
        let known = inspector.progress().known.new_image_of(number);
        let unknown = || StepError::surroundings("the journal does not name the new image");
        let image = known.ok_or_else(unknown)?;
        recreate::set_compose_image(&mut recreation.body, image);
        let created = match update.source {
            // The local tag still points at the old image.
            ImageSource::Pushed => containers::create_on(engine, &name, recreation, image).await?,
            _ => containers::create(engine, &name, &recreation).await?,
        };
        (image, created)
    } else {
        let image = inspector.header().old_image(number);
        (image, containers::create_on(engine, &name, recreation, image).await?)
    };
    let created = engine.inspect(&id).await?.unwrap_or_default();
    if inspect::image_id(&created) != image {
        let got = inspect::image_id(&created);
        let detail = format!("the new container got the image {got} instead of {image}");
        return Err(StepError::surroundings(plan.naming(number, detail)));
    }
    if starts_first && !healthcheck::is_judged(&member.health, &created) {
        let detail = "the new image has no HEALTHCHECK, so nothing would show that it works while \
                      the old container serves";
        return Err(StepError::surroundings(plan.naming(number, detail)));
    }
    match healthcheck::asks_for_too_long(&member.health, &member.recreation.body, &created) {
        Some(detail) => Err(StepError::surroundings(plan.naming(number, detail))),
        None => Ok(id),
    }
}

/// Checks that the names that the switch needs are free. A container that has one of them is not
/// removed here: this update has created none yet, so it is external, or it is an orphan, and
/// removing an orphan needs proof.
async fn check_names_are_free(engine: &impl Engine, member: &Member) -> Result<(), StepError> {
    for name in [member.new_name(), member.old_name()] {
        if engine.inspect(&name).await?.is_some() {
            let detail = format!(
                "a container named {name} exists, and this update did not create it; rename or \
                 remove it"
            );
            return Err(StepError::surroundings(detail));
        }
    }
    Ok(())
}
