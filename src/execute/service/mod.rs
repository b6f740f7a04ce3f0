//! Carries out the update of a service of a Swarm.
//!
//! Swarm replaces the tasks; the agent changes the specification once, watches, and goes back if a
//! place does not prove itself. Everything that it does is a change of the specification, guarded
//! by the version of the document, and can be repeated without harm. The order is `pull`, `update`,
//! `watch`, `settle`; each step has its entry on the disk before it acts.
//!
//! The rules are in `core/service/`.

mod ending;
mod prepull;
mod rollback;
mod swarm;
mod watch;

use serde_json::Value;
use tokio::time::Instant;

use crate::core::docker::credentials::Credentials;
use crate::core::service::facts::ServiceFacts;
use crate::core::service::plan::{ServiceHeader, ServicePlan};
use crate::core::service::progress::{ServiceEntry, ServiceStep};
use crate::core::service::resume::{ServiceResume, resume};
use crate::core::subject::Subject;
use crate::core::update::Mark;
use crate::core::update::event::Event;
use crate::core::update::history::{Cause, Fault, Record};
use crate::engine::{EngineError, ServiceChange, Services};
use crate::execute::{StepError, UpdateContext};
use crate::host::Host;
use crate::journal::{JournalError, ServiceJournal};
use crate::ports::Ports;

/// Most tries of one change that another client's change comes before. Swarm itself changes a
/// service a few times during an update.
const CHANGES_MAX: u32 = 5;

/// How the update of a service ended here.
#[derive(Debug)]
pub enum ServiceEnded {
    /// It ended, successful or not.
    Finished(Box<Record>),
    /// The agent was asked to stop; the journal has the position, and Swarm goes on by itself.
    Left,
    /// It could be neither finished nor undone now. The journal stays, and the update is resumed
    /// later.
    Unfinished(StepError),
}

/// One update of a service in flight.
pub struct ServiceUpdate<'a, P: Ports> {
    context: UpdateContext<'a, P>,
    journal: ServiceJournal,
    /// Since when nodes are left out of the service, so that they get fresh tasks.
    left_out_since: Option<Instant>,
    /// When the present step began here.
    step_begun: Option<Instant>,
}

impl<'a, P: Ports> ServiceUpdate<'a, P> {
    /// Begins an update: writes its journal to disk, and nothing else.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn begin(
        context: UpdateContext<'a, P>,
        header: ServiceHeader,
    ) -> Result<Self, JournalError> {
        let plan = &header.plan;
        context.listener.receive(&Event::UpdateBegun {
            subject: plan.subject(),
            member: None,
            image: plan.image.clone(),
            from: Some(plan.from.clone()),
            to: plan.to.clone(),
            dependents: Vec::new(),
        });
        let journal = context.ports.state().begin_service(header)?;
        Ok(Self::of(context, journal))
    }

    /// An update whose journal exists.
    pub const fn of(context: UpdateContext<'a, P>, journal: ServiceJournal) -> Self {
        Self { context, journal, left_out_since: None, step_begun: None }
    }

    fn plan(&self) -> &ServicePlan {
        &self.journal.header.plan
    }

    fn subject(&self) -> Subject {
        self.plan().subject()
    }

    /// Runs the update from its first step. `credentials` is the login for the nodes' pulls before
    /// the update; the service keeps the login that the Swarm has for it.
    pub async fn run(mut self, credentials: Option<&Credentials>) -> ServiceEnded {
        let error = self.forward(credentials).await.err();
        self.finish(error).await
    }

    /// Finishes or undoes an open update.
    pub async fn take_up(mut self) -> ServiceEnded {
        let error = self.decide_again().await.err();
        self.finish(error).await
    }

    /// Turns an error into a rollback, or leaves the update open.
    async fn finish(&mut self, mut error: Option<StepError>) -> ServiceEnded {
        while let Some(problem) = error {
            // A rollback that was begun is never turned into an update, and an update whose places
            // have all proved themselves is never taken back.
            let progress = &self.journal.progress;
            let has_one_way =
                progress.failed.is_some() || progress.done >= Some(ServiceStep::Watch);
            error = match problem {
                StepError::Asked => return ServiceEnded::Left,
                problem if has_one_way || problem.is_engine_unreachable() => {
                    return ServiceEnded::Unfinished(problem);
                }
                problem => match problem.into_cause() {
                    Ok(cause) => self.fail(cause).await.err(),
                    Err(_) => self.decide_again().await.err(),
                },
            };
        }
        ServiceEnded::Finished(Box::new(ending::record(self.context.ports, &self.journal)))
    }

    async fn forward(&mut self, credentials: Option<&Credentials>) -> Result<(), StepError> {
        self.write(ServiceStep::Pull, Mark::Started)?;
        prepull::run(self.context, &self.journal.header, credentials).await?;
        self.write(ServiceStep::Pull, Mark::Done)?;
        if self.context.stop.is_cancelled() {
            return Err(StepError::Asked);
        }
        self.update().await?;
        self.watch().await
    }

    /// Writes the new image into the specification.
    async fn update(&mut self) -> Result<(), StepError> {
        self.write(ServiceStep::Update, Mark::Started)?;
        for _ in 0..CHANGES_MAX {
            let Some((service, facts)) = self.service().await? else { return Err(gone()) };
            let header = &self.journal.header;
            if spec_of(&service) != &header.spec {
                let detail = "the service was changed while its image was being pulled";
                return Err(StepError::Cause(Cause::person(detail)));
            }
            let spec = header.spec_of_update(spec_of(&service));
            match self.change(&facts, &spec).await {
                Ok(()) => return Ok(self.write(ServiceStep::Update, Mark::Done)?),
                // Swarm itself writes into the document, such as the state of the last update.
                Err(error) if error.is_out_of_sequence() => {}
                Err(error) if error.is_engine_unreachable() => {
                    let detail = format!("it is not known whether the change arrived: {error}");
                    return Err(StepError::Spoilt(detail));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(too_many_changes())
    }

    /// Reads the present state, and continues forward or with the rollback.
    async fn decide_again(&mut self) -> Result<(), StepError> {
        let look = self.look().await?;
        prepull::remove_jobs(self.context, self.plan()).await?;
        let look = look.as_ref().map(|(_, look)| look);
        let next = resume(&self.journal.header, &self.journal.progress, look);
        let intent = intent(&next);
        self.context.listener.receive(&Event::Continued { subject: self.subject(), intent });
        match next {
            ServiceResume::NeverBegun => {
                let detail = "the agent ended before the update began";
                self.fail(Cause::interrupted(detail)).await
            }
            ServiceResume::Watch => Box::pin(self.watch()).await,
            ServiceResume::Settle => self.settle().await,
            ServiceResume::GoBack(cause) | ServiceResume::WatchRollback(cause) => {
                Box::pin(self.fail(cause)).await
            }
            ServiceResume::Yield(detail) => self.fail(Cause::person(detail)).await,
        }
    }

    /// Records why the update is rolled back, refuses the digest if the image is the cause, and
    /// rolls back.
    ///
    /// The refusal is written before anything is undone, so that a bad digest is never tried again.
    /// If it cannot be written, the rollback comes first, and the journal stays open until it is
    /// written.
    async fn fail(&mut self, cause: Cause) -> Result<(), StepError> {
        let is_news = self.journal.progress.failed.is_none();
        let has_begun = self.journal.progress.begun >= Some(ServiceStep::Update);
        // A person's change stays, even if the update had failed before.
        let is_yielding = cause.fault == Fault::Person;
        let mut written = Ok(());
        if is_news {
            let event = Event::RollingBack { subject: self.subject(), cause: cause.clone() };
            self.context.listener.receive(&event);
            let step = self.journal.progress.begun.unwrap_or(ServiceStep::Pull);
            written = self.write_entry(step, Mark::Failed, |entry| {
                entry.cause = Some(cause.clone());
            });
            self.journal.progress.failed = Some(cause);
        }
        let remembered = written
            .and_then(|()| ending::remember_failure(self.context.ports, &self.journal, is_news));
        if has_begun && !is_yielding {
            self.roll_back().await?;
        }
        if has_begun {
            self.leave_as_recorded().await?;
        }
        remembered?;
        Ok(ending::close(self.context, &self.journal)?)
    }

    /// Ends a successful update.
    async fn settle(&mut self) -> Result<(), StepError> {
        self.write(ServiceStep::Settle, Mark::Started)?;
        self.leave_as_recorded().await?;
        self.write(ServiceStep::Settle, Mark::Done)?;
        ending::remember_success(self.context.ports, &self.journal)?;
        Ok(ending::close(self.context, &self.journal)?)
    }

    /// Writes the user's own settings for updates again, and lets no node be left out. No task is
    /// restarted by it.
    async fn leave_as_recorded(&mut self) -> Result<(), StepError> {
        for _ in 0..CHANGES_MAX {
            // A service that is gone needs no settings.
            let Some((service, facts)) = self.service().await? else { return Ok(()) };
            let spec = self.journal.header.spec_of_end(spec_of(&service), &facts.image);
            if spec == *spec_of(&service) {
                return Ok(());
            }
            match self.change(&facts, &spec).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_out_of_sequence() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(too_many_changes())
    }

    /// The service's document and what it says; `None` if the service is gone.
    async fn service(&self) -> Result<Option<(Value, ServiceFacts)>, EngineError> {
        swarm::service(self.context.ports.engine(), &self.plan().service_id).await
    }

    async fn change(&self, facts: &ServiceFacts, spec: &Value) -> Result<(), EngineError> {
        let (service, version) = (facts.id.as_str(), facts.version);
        let change = ServiceChange { service, version, spec, credentials: None };
        self.context.ports.engine().update_service(change).await
    }

    fn warn(&self, detail: impl Into<String>) {
        let (subject, detail) = (Some(self.subject()), detail.into());
        self.context.listener.receive(&Event::Warning { subject, detail });
    }

    fn write(&mut self, step: ServiceStep, mark: Mark) -> Result<(), JournalError> {
        self.write_entry(step, mark, |_| {})
    }

    fn write_entry(
        &mut self,
        step: ServiceStep,
        mark: Mark,
        complete: impl FnOnce(&mut ServiceEntry),
    ) -> Result<(), JournalError> {
        let ports = self.context.ports;
        let mut entry = self.journal.progress.next(ports.host().now(), step, mark);
        complete(&mut entry);
        ports.state().write_service(&mut self.journal, &entry)?;
        self.tell(step, mark);
        Ok(())
    }

    /// Tells of a step in the words of a container's update.
    fn tell(&mut self, step: ServiceStep, mark: Mark) {
        let (subject, shown) = (self.subject(), step.as_step());
        match mark {
            Mark::Started => {
                self.step_begun = Some(Instant::now());
                self.context.listener.receive(&Event::StepBegun { subject, step: shown });
            }
            Mark::Done => {
                let took = self.step_begun.map(|begun| begun.elapsed()).unwrap_or_default();
                self.context.listener.receive(&Event::StepDone { subject, step: shown, took });
            }
            Mark::Failed | Mark::UndoStarted | Mark::UndoDone => {}
        }
    }
}

fn spec_of(service: &Value) -> &Value {
    service.get("Spec").unwrap_or(&Value::Null)
}

fn gone() -> StepError {
    StepError::Cause(Cause::person("the service was removed during the update"))
}

fn too_many_changes() -> StepError {
    StepError::surroundings("another client changed the service again and again")
}

fn intent(next: &ServiceResume) -> String {
    match next {
        ServiceResume::NeverBegun => "the service was not changed".into(),
        ServiceResume::Watch => "the next step is watch".into(),
        ServiceResume::Settle => "the next step is settle".into(),
        ServiceResume::GoBack(cause) | ServiceResume::WatchRollback(cause) => {
            format!("rolling back: {}", cause.detail)
        }
        ServiceResume::Yield(detail) => format!("left as it is: {detail}"),
    }
}
