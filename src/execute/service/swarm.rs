//! Looks at the Swarm during an update.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::read_nodes;
use crate::core::service::task::read_tasks;
use crate::core::service::watch::ServiceLook;
use crate::core::subject::Subject;
use crate::core::update::event::Event;
use crate::engine::{EngineError, Services};
use crate::execute::{ENGINE_RETURN_TIMEOUT, StepError, UpdateContext};
use crate::ports::Ports;

/// The pause between two looks. Swarm reports tasks in no event stream, and a bad image must be
/// seen before the next node is taken.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What the pause is longer by for each task, because a look reads all of them: five seconds for a
/// hundred nodes with five old tasks each.
const LOOK_TIME_OF_TASK: Duration = Duration::from_millis(10);

/// The document of a service and what it says; `None` if the service is gone.
pub(super) async fn service(
    engine: &impl Services,
    id: &str,
) -> Result<Option<(Value, ServiceFacts)>, EngineError> {
    let Some(document) = engine.service(id).await? else { return Ok(None) };
    let wrong = || EngineError::Garbage { call: "inspect service", detail: "it has no ID".into() };
    let facts = ServiceFacts::read(&document).ok_or_else(wrong)?;
    Ok(Some((document, facts)))
}

/// A look: the service, its tasks and all nodes. `None`: the service is gone.
pub(super) async fn look(
    engine: &impl Services,
    id: &str,
) -> Result<Option<(Value, ServiceLook)>, EngineError> {
    let Some((document, facts)) = service(engine, id).await? else { return Ok(None) };
    let tasks = read_tasks(&engine.tasks(id).await?);
    let nodes = read_nodes(&engine.nodes().await?);
    Ok(Some((document, ServiceLook { facts, tasks, nodes })))
}

/// Waits until the next look.
pub(super) async fn pause(tasks: usize) {
    let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
    tokio::time::sleep(LOOK_INTERVAL.saturating_add(LOOK_TIME_OF_TASK.saturating_mul(tasks))).await;
}

/// Repeats a question until the Swarm answers it. A manager that was restarted, or a Swarm whose
/// leader has changed, refuses everything for some seconds. If that takes longer than an update
/// waits, the update stays open.
pub(super) async fn await_answer<P: Ports, T, F>(
    context: UpdateContext<'_, P>,
    subject: &Subject,
    ask: impl Fn() -> F,
) -> Result<T, StepError>
where
    F: Future<Output = Result<T, EngineError>>,
{
    let deadline = Instant::now() + ENGINE_RETURN_TIMEOUT;
    let mut is_said = false;
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(StepError::EngineStaysAway(error));
        }
        if context.stop.is_cancelled() {
            return Err(StepError::Asked);
        }
        if !std::mem::replace(&mut is_said, true) {
            let detail = format!("the update waits for the Swarm: {error}");
            context.listener.receive(&Event::Warning { subject: Some(subject.clone()), detail });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
