//! The job that makes every node pull the new image before anything is stopped.

use std::time::Duration;

use tokio::time::Instant;

use super::swarm;
use crate::core::docker::credentials::Credentials;
use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::read_nodes;
use crate::core::service::plan::{ServiceHeader, ServicePlan};
use crate::core::service::prepull::{Prepull, is_job_for, job, judge};
use crate::core::service::task::read_tasks;
use crate::core::text::shown;
use crate::core::update::history::Cause;
use crate::engine::{EngineError, Services};
use crate::execute::{StepError, UpdateContext};
use crate::ports::Ports;

/// How long all nodes together may pull. They pull side by side, and a large image over a slow line
/// takes its time; Swarm shows no progress that could be judged instead.
const PREPULL_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Pulls the new image on every node, and removes the job whatever happens.
pub(super) async fn run<P: Ports>(
    context: UpdateContext<'_, P>,
    header: &ServiceHeader,
    credentials: Option<&Credentials>,
) -> Result<(), StepError> {
    let _place = context.places.for_pull(context.stop).await?;
    let engine = context.ports.engine();
    remove_jobs(context, &header.plan).await?;
    let id = engine.create_service(&job(&header.plan, &header.spec), credentials).await?;
    let pulled = watch(context, header, &id).await;
    // A failed task of a job is replaced at once, so the job must go even if the update ends. If it
    // cannot be removed now, a later agent finds it by its label.
    let removed = engine.remove_service(&id).await;
    pulled?;
    removed?;
    Ok(())
}

async fn watch<P: Ports>(
    context: UpdateContext<'_, P>,
    header: &ServiceHeader,
    id: &str,
) -> Result<(), StepError> {
    let (engine, plan) = (context.ports.engine(), &header.plan);
    let deadline = Instant::now() + PREPULL_TIMEOUT;
    loop {
        let subject = plan.subject();
        let answers = swarm::await_answer(context, &subject, || async {
            let (service, job) = (engine.service(&plan.service_id), engine.service(id));
            let (service, job) = (service.await?, job.await?);
            let (tasks, nodes) = (engine.tasks(id).await?, engine.nodes().await?);
            Ok::<_, EngineError>((service, job, read_tasks(&tasks), read_nodes(&nodes)))
        });
        let (service, job, tasks, nodes) = answers.await?;
        let failed = |detail: String| StepError::Cause(Cause::surroundings(shown(&detail)));
        let Some(facts) = service.as_ref().and_then(ServiceFacts::read) else {
            return Err(super::gone());
        };
        if job.is_none() {
            return Err(failed("prepull_failed: another client removed the job that pulls".into()));
        }
        match judge(&tasks, facts.eligible(&nodes)) {
            Prepull::Done => return Ok(()),
            Prepull::Failed(detail) => return Err(failed(format!("prepull_failed: {detail}"))),
            Prepull::Waiting(nodes) if Instant::now() >= deadline => {
                let nodes = nodes.join(", ");
                return Err(failed(format!("prepull_failed: no answer from {nodes} in time")));
            }
            Prepull::Waiting(_) if context.stop.is_cancelled() => return Err(StepError::Asked),
            Prepull::Waiting(_) => swarm::pause(tasks.len()).await,
        }
    }
}

/// Removes the jobs that an agent left behind when it was killed during a pull for this service.
pub(super) async fn remove_jobs<P: Ports>(
    context: UpdateContext<'_, P>,
    plan: &ServicePlan,
) -> Result<(), EngineError> {
    let engine = context.ports.engine();
    let services = engine.services().await?;
    let services = services.iter().filter_map(ServiceFacts::read);
    for job in services.filter(|service| is_job_for(service, &plan.service_id)) {
        engine.remove_service(&job.id).await?;
    }
    Ok(())
}
