//! Creates the first container of a deployment, and judges it like that of any update. There is
//! nothing to go back to: a container that fails is removed.

use serde_json::Value;
use tokio::time::Instant;

use crate::core::decide::memory::Refusal;
use crate::core::decide::offer::Offer;
use crate::core::deployment::ClientAct;
use crate::core::deployment::push_journal::OpenFirst;
use crate::core::docker::reference::Reference;
use crate::core::docker::{inspect, names};
use crate::core::recreate::{Recreation, RestartPolicy};
use crate::core::subject::Subject;
use crate::core::update::Step;
use crate::core::update::event::Event;
use crate::core::update::health::HealthVerdict;
use crate::core::update::healthcheck;
use crate::core::update::history::{Cause, GroupRecord, Outcome, Record};
use crate::core::update::plan::Member;
use crate::core::update::start_error::{self, Blame};
use crate::engine::{Containers, Engine, EngineError, Images};
use crate::host::Host;
use crate::ports::Ports;

use super::rollback::LOG_LINES_MAX;
use super::verification::{HealthWatch, Trial};
use super::{StepError, UpdateContext, containers, drop_if_unused, images};

/// The first container of a deployment.
pub struct FirstStart<'a> {
    /// The container. Nothing is replaced, so its `old_container` is empty.
    pub member: &'a Member,
    /// The pushed image.
    pub offer: &'a Offer,
    /// The entry on disk.
    pub open: &'a OpenFirst,
}

impl FirstStart<'_> {
    /// Creates the container, and commits or removes it. The entry on disk is there before the
    /// first call, and goes with the last one.
    ///
    /// # Errors
    /// The Engine or the disk did not let it end. The entry stays, and the next start ends it.
    pub async fn run<P: Ports>(&self, context: UpdateContext<'_, P>) -> Result<Record, StepError> {
        let (name, open) = (&self.member.container, self.open.clone());
        let state = context.ports.state();
        context.listener.receive(&Event::UpdateBegun {
            subject: Subject::container(name),
            member: None,
            image: open.image.clone(),
            from: None,
            to: self.offer.index.clone(),
            dependents: Vec::new(),
        });
        state.edit_push_journal(|journal| _ = journal.first.insert(name.clone(), open))?;
        match self.create_and_judge(context).await {
            Ok(id) => {
                let verify = |first: &mut OpenFirst| first.is_verified = true;
                state.edit_push_journal(|journal| {
                    journal.first.get_mut(name).into_iter().for_each(verify);
                })?;
                let policy = &self.member.restart_policy;
                let commit = commit(context, name, (&id, policy), self.open);
                step(context, name, Step::Commit, commit).await?;
                close(context, name, self.open, (None, Vec::new()))
            }
            Err(StepError::Asked) => Err(StepError::Asked),
            Err(error) => {
                let cause = error.into_cause().or_else(|error| match error {
                    StepError::Spoilt(detail) => Ok(Cause::interrupted(detail)),
                    error if error.is_engine_unreachable() => Err(error),
                    error => Ok(Cause::surroundings(error.to_string())),
                })?;
                self.undo(context, cause).await
            }
        }
    }

    async fn create_and_judge<P: Ports>(
        &self,
        context: UpdateContext<'_, P>,
    ) -> Result<String, StepError> {
        let (engine, member) = (context.ports.engine(), self.member);
        let name = &member.container;
        let document = step(context, name, Step::Create, self.create(engine)).await?;
        let id = inspect::id(&document).to_owned();
        let watch = step(context, name, Step::Start, start(engine, &document)).await?;
        let verify = async {
            let trial = Trial::begin(engine, (0, member), id.clone(), watch, false).await?;
            judge(context, trial).await
        };
        step(context, name, Step::Verify, verify).await.map(|()| id)
    }

    /// Creates the container. Returns its inspect document.
    async fn create(&self, engine: &impl Engine) -> Result<Value, StepError> {
        let member = self.member;
        let Recreation { body, .. } = &member.recreation;
        let recreation = member.recreation.clone();
        let image = self.offer.index.as_str();
        let created = containers::create_on(engine, &member.container, recreation, image).await;
        let id = created.map_err(|error| match error {
            error if error.is_engine_unreachable() => StepError::from(error),
            error => StepError::surroundings(format!("could not be created: {error}")),
        })?;
        let document = engine.inspect(&id).await?.unwrap_or_default();
        match healthcheck::asks_for_too_long(&member.health, body, &document) {
            Some(detail) => Err(StepError::surroundings(detail)),
            None => Ok(document),
        }
    }

    /// Removes the container and the image.
    async fn undo<P: Ports>(
        &self,
        context: UpdateContext<'_, P>,
        cause: Cause,
    ) -> Result<Record, StepError> {
        let (ports, name) = (context.ports, &self.member.container);
        let subject = Subject::container(name);
        context.listener.receive(&Event::RollingBack { subject, cause: cause.clone() });
        if cause.blames_image() {
            let mut memory = ports.state().memory()?;
            let (at, detail) = (ports.host().now(), cause.detail.clone());
            let refusal = Refusal { digests: self.offer.digests(), at, detail };
            if memory.refuse(&Subject::container(name), refusal) {
                ports.state().remember(&memory)?;
            }
        }
        undo(context, name, self.open, &cause).await
    }
}

/// Does a step, and tells when it begins and when it is complete.
async fn step<P: Ports, T>(
    context: UpdateContext<'_, P>,
    name: &str,
    step: Step,
    act: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let subject = Subject::container(name);
    context.listener.receive(&Event::StepBegun { subject: subject.clone(), step });
    let begun = Instant::now();
    let done = act.await?;
    context.listener.receive(&Event::StepDone { subject, step, took: begun.elapsed() });
    Ok(done)
}

/// Starts the container, and listens to it from before its start.
async fn start<E: Engine>(engine: &E, document: &Value) -> Result<HealthWatch, StepError> {
    let id = inspect::id(document);
    let mut watch = HealthWatch::begin(engine, id).await?;
    let started = engine.start(id).await;
    watch.mark_started();
    let Err(error) = started else { return Ok(watch) };
    if error.is_engine_unreachable() {
        return Err(error.into());
    }
    let detail = format!("could not be started: {error}");
    Err(StepError::Cause(match start_error::of_container(error.words(), document) {
        Blame::Image => Cause::image(detail),
        _ => Cause::surroundings(detail),
    }))
}

/// Watches the container until there is a verdict.
async fn judge<P: Ports>(
    context: UpdateContext<'_, P>,
    mut trial: Trial<'_>,
) -> Result<(), StepError> {
    let engine = context.ports.engine();
    trial.look(engine).await?;
    let mut was_healthy = false;
    loop {
        let cause = match trial.verdict() {
            HealthVerdict::Healthy if was_healthy => return Ok(()),
            // It counts only if it runs now, and no event was missed.
            HealthVerdict::Healthy => {
                was_healthy = true;
                trial.look(engine).await?;
                trial.watch.hear_what_is_ready();
                continue;
            }
            HealthVerdict::Wait { until } => {
                was_healthy = false;
                trial.wait(context.ports, context.stop, until).await?;
                continue;
            }
            HealthVerdict::Inconclusive(detail) => return Err(StepError::Spoilt(detail)),
            HealthVerdict::Unknown(detail) => Cause::interrupted(detail),
            HealthVerdict::Person(detail) => Cause::person(detail),
            HealthVerdict::Failed(detail) => Cause::image(detail),
        };
        return Err(StepError::Cause(cause));
    }
}

/// Makes a verified container the service.
async fn commit<P: Ports>(
    context: UpdateContext<'_, P>,
    name: &str,
    (id, policy): (&str, &RestartPolicy),
    open: &OpenFirst,
) -> Result<(), StepError> {
    let (ports, engine) = (context.ports, context.ports.engine());
    if !policy.is_no() {
        engine.set_restart_policy(id, policy).await?;
    }
    // After a power cut nothing else starts it.
    engine.start(id).await?;
    let image = &open.image_id;
    if let Ok(reference) = open.image.parse::<Reference>() {
        let tag = reference.tag.as_deref().unwrap_or_default();
        engine.tag(image, &reference.familiar_name(), tag).await?;
    }
    engine.remove_image(&names::push_name(name, image)).await?;
    images::flush(ports).await?;
    let mut memory = ports.state().memory()?;
    let pushed = ClientAct { by: open.by.clone(), at: open.at };
    memory.learn_push(image, pushed, open.layers.clone());
    for digest in image.parse().ok().iter().chain(&open.config) {
        memory.learn(image, digest);
    }
    Ok(ports.state().remember(&memory)?)
}

/// Removes a container that is not committed, and its image.
async fn undo<P: Ports>(
    context: UpdateContext<'_, P>,
    name: &str,
    open: &OpenFirst,
    cause: &Cause,
) -> Result<Record, StepError> {
    let engine = context.ports.engine();
    let mut log = Vec::new();
    if let Some(id) = own_container(engine, name, open).await? {
        log = engine.logs(&id, LOG_LINES_MAX).await.unwrap_or_default();
        let document = engine.inspect(&id).await?.unwrap_or_default();
        if inspect::is_running(&document) {
            engine.stop(&id, inspect::stop_timeout(&document)).await?;
        }
        // With its anonymous volumes, which nothing else has used.
        engine.remove(&id, true).await?;
    }
    engine.remove_image(&names::push_name(name, &open.image_id)).await?;
    if let Err(error) = drop_if_unused(engine, &open.image_id).await {
        let detail = format!("the image stays on disk: {error}");
        context.warn_about(name, detail);
    }
    close(context, name, open, (Some(cause), log))
}

/// The container that this entry created: it has the name, the image and the definition.
async fn own_container(
    engine: &impl Engine,
    name: &str,
    open: &OpenFirst,
) -> Result<Option<String>, EngineError> {
    let Some(document) = engine.inspect(name).await? else { return Ok(None) };
    Ok(open.has_made(&document).then(|| inspect::id(&document).to_owned()))
}

/// Writes the line of history, and removes the entry.
fn close<P: Ports>(
    context: UpdateContext<'_, P>,
    name: &str,
    open: &OpenFirst,
    (cause, log): (Option<&Cause>, Vec<String>),
) -> Result<Record, StepError> {
    let outcome = match cause {
        None => Outcome::Updated,
        Some(cause) if cause.is_failure() => Outcome::Failed,
        Some(_) => Outcome::Interrupted,
    };
    let record = Record {
        by: Some(open.by.clone()),
        id: open.id.clone(),
        subject: Subject::container(name),
        image: open.image.clone(),
        from: None,
        to: open.image_id.parse().ok(),
        started_at: open.at,
        finished_at: context.ports.host().now(),
        outcome,
        tries: 1,
        reason: cause.map(|cause| cause.detail.clone()),
        gap_seconds: None,
        log,
        dependents: Vec::new(),
        group: GroupRecord::default(),
    };
    let state = context.ports.state();
    state.record(&record)?;
    state.edit_push_journal(|journal| _ = journal.first.remove(name))?;
    let event = Event::UpdateEnded(Box::new(record.clone()));
    context.listener.receive(&event);
    Ok(record)
}

/// Ends a first container that an earlier process left open: one that was verified is committed,
/// any other is removed.
///
/// # Errors
/// The Engine or the disk did not let it end.
pub async fn end_first_start<P: Ports>(
    context: UpdateContext<'_, P>,
    name: &str,
    open: &OpenFirst,
) -> Result<Record, StepError> {
    let own = own_container(context.ports.engine(), name, open).await?;
    let intent = match open.is_verified {
        true => "the next step is commit",
        false => "rolling back: it had no verdict",
    };
    let (subject, intent) = (Subject::container(name), intent.to_owned());
    context.listener.receive(&Event::Continued { subject, intent });
    match own.filter(|_| open.is_verified) {
        Some(id) => {
            commit(context, name, (&id, &open.policy), open).await?;
            close(context, name, open, (None, Vec::new()))
        }
        None => {
            let cause = Cause::interrupted("the agent or the machine ended before the verdict");
            undo(context, name, open, &cause).await
        }
    }
}
