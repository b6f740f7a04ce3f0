//! Layer 2: carries out a plan. Each action is between two journal entries, and every failure leads
//! to a rollback.
//!
//! `Update` has the journal and the order of the steps. Each step is a file in `steps/`, the trial
//! of the new containers is in `verification/`, and the rollback is in `rollback/`. They read the
//! present state through `inspector`. `external_changes` and `compose_race` detect what people and
//! Compose do during an update; `places` limits how many updates pull or switch side by side.
//!
//! New rules belong in `core/`. Every action can be repeated without harm, because after a power
//! cut it is not known whether it was done: the journal, the Engine's answer and the Engine's disk
//! may each be ahead of the others.

mod compose_race;
mod containers;
mod context;
mod ending;
mod engine_return;
mod external_changes;
mod first_start;
mod hooks;
mod images;
mod inspector;
mod load;
mod places;
mod prefetch;
mod rollback;
mod service;
mod service_gap;
mod start_requirements;
mod step_error;
mod steps;
mod stop;
mod verification;

pub use context::UpdateContext;
pub use engine_return::{ENGINE_RETURN_INTERVAL, ENGINE_RETURN_TIMEOUT};
pub use first_start::{FirstStart, end_first_start};
pub use images::drop_if_unused;
pub use load::{LeftImageError, LoadOrder, Upload, UploadPart, load, remove_late_images};
pub use places::Places;
pub use prefetch::{drop_superseded, fetched, prefetch, prefetch_and_tag};
pub use service::{ServiceEnded, ServiceUpdate};
pub use step_error::StepError;

use std::time::Duration;

use tokio::time::Instant;

use crate::core::time::duration::format_duration;
use crate::core::update::event::Event;
use crate::core::update::history::{Cause, Record};
use crate::core::update::plan::{Header, Plan};
use crate::core::update::time_limits::limit;
use crate::core::update::{Mark, Note, Resume, Step, resume};
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;
use engine_return::await_engine;
use inspector::Inspector;
use places::Place;
use rollback::Rollback;
use service_gap::ServiceGap;
use steps::Begun;
use verification::{HealthWatch, PostUpdateHooks};

/// How an update ended here.
#[derive(Debug)]
pub enum Ended {
    /// It ended, successful or not.
    Finished(Box<Record>),
    /// The agent was asked to stop; the journal has the position.
    Left,
    /// It could be neither finished nor undone now. The journal stays, and the update is resumed
    /// later.
    Unfinished(Box<UpdateJournal>, StepError),
}

/// One update in flight: its journal, and what only this process knows about it.
pub struct Update<'a, P: Ports> {
    context: UpdateContext<'a, P>,
    journal: UpdateJournal,
    begun: Begun,
    gap: ServiceGap,
    /// Each listens to a new container, from before its start.
    watches: Vec<HealthWatch>,
    watchtower_hooks: PostUpdateHooks,
}

impl<'a, P: Ports> Update<'a, P> {
    /// Begins an update: writes its journal to disk, and nothing else.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn begin(context: UpdateContext<'a, P>, header: Header) -> Result<Self, JournalError> {
        let plan = &header.plan;
        for (_, member, update) in plan.changed() {
            context.listener.receive(&Event::UpdateBegun {
                subject: plan.subject(),
                member: plan.subject.group_name().map(|_| member.container.clone()),
                image: member.image.clone(),
                from: update.from.digest.clone(),
                to: update.to.index.clone(),
                dependents: plan.dependent_names(),
            });
        }
        let journal = context.ports.state().begin(header)?;
        Ok(Self::of(context, journal))
    }

    /// An update whose journal exists.
    pub fn of(context: UpdateContext<'a, P>, journal: UpdateJournal) -> Self {
        Self {
            context,
            journal,
            begun: Begun::Here,
            gap: ServiceGap::default(),
            watches: Vec::new(),
            watchtower_hooks: PostUpdateHooks::default(),
        }
    }

    /// Its journal so far.
    #[must_use]
    pub const fn journal(&self) -> &UpdateJournal {
        &self.journal
    }

    fn plan(&self) -> &Plan {
        &self.journal.header.plan
    }

    fn inspector(&self) -> Inspector<'_, P::Engine> {
        Inspector::of(self.context.ports.engine(), &self.journal)
    }

    /// Runs the update from its first step.
    pub async fn run(mut self) -> Ended {
        let error = self.forward(Step::Pull).await.err();
        self.finish(error).await
    }

    /// Finishes or undoes an open update.
    pub async fn take_up(mut self) -> Ended {
        self.begun = Begun::Earlier;
        let error = self.decide_again().await.err();
        self.finish(error).await
    }

    /// Turns every error into a rollback or another try, until there is none.
    ///
    /// This ends, because each turn of the loop ends the update, or counts one more verification in
    /// the journal, or has recorded a cause, after which only the rollback is left.
    async fn finish(&mut self, mut error: Option<StepError>) -> Ended {
        while let Some(problem) = error {
            let has_one_way = self.journal.progress.has_one_way_left();
            error = match problem {
                // Two containers would run side by side until the next agent begins.
                StepError::Asked if self.journal.progress.runs_both() => {
                    let cause = Cause::interrupted("the agent was asked to stop");
                    self.turn_back(cause).await.err()
                }
                StepError::Asked => return Ended::Left,
                // Nothing more can be found out now: the journal stays open, and the update is
                // resumed later.
                problem if has_one_way || matches!(problem, StepError::EngineStaysAway(_)) => {
                    return Ended::Unfinished(Box::new(self.journal.clone()), problem);
                }
                problem => self.handle(problem).await.err(),
            };
        }
        Ended::Finished(Box::new(ending::record(self.context.ports, &self.journal)))
    }

    async fn handle(&mut self, problem: StepError) -> Result<(), StepError> {
        match problem.into_cause() {
            Ok(cause) => self.turn_back(cause).await,
            Err(_) => self.decide_again().await,
        }
    }

    /// Reads the present state, and continues forward or with the rollback.
    async fn decide_again(&mut self) -> Result<(), StepError> {
        await_engine(self.context, self.plan()).await?;
        let reality = self.inspector().actual_state().await?;
        let resume = resume(&self.journal.progress, &reality);
        let intent = match &resume {
            Resume::Forward(step) => format!("the next step is {}", step.word()),
            Resume::Back(cause) => format!("rolling back: {}", cause.detail),
        };
        self.context.listener.receive(&Event::Continued { subject: self.plan().subject(), intent });
        match resume {
            Resume::Forward(step) => self.forward(step).await,
            Resume::Back(cause) => self.turn_back(cause).await,
        }
    }

    async fn forward(&mut self, from: Step) -> Result<(), StepError> {
        // Released after the start, or when this function returns earlier.
        let mut switch_place: Option<Place<'_>> = None;
        for step in self.plan().steps().filter(|step| *step >= from) {
            if self.context.stop.is_cancelled() && step.is_left_to_next_agent() {
                return Err(StepError::Asked);
            }
            match step {
                Step::Switch => switch_place = self.switch_place().await?,
                Step::Verify => drop(switch_place.take()),
                _ => {}
            }
            match limit(step, self.plan()) {
                Some(limit) => self.step_within(step, limit).await?,
                None => self.step(step).await?,
            }
        }
        Ok(())
    }

    /// Takes the place to switch, before the journal says that the switch has begun. If it had to
    /// wait, it checks again what may have changed in the meantime, because nothing is stopped yet.
    /// The locks are looked at in any case. A switch that has begun before does not wait, because
    /// its service may be down.
    async fn switch_place(&self) -> Result<Option<Place<'a>>, StepError> {
        let places = self.context.places;
        if self.journal.progress.old_may_be_down() {
            return Ok(places.for_switch_begun_before());
        }
        let place = places.for_switch(self.context.stop).await?;
        // A job may have run for an hour.
        if place.has_waited() || !self.plan().jobs.is_empty() {
            steps::check_nothing_changed(self.context, self.inspector()).await?;
        }
        steps::check_unlocked(self.context.ports.engine(), self.inspector()).await?;
        Ok(Some(place))
    }

    /// Runs a step within its time limit. A step that is aborted leaves the same state as a kill at
    /// that moment.
    async fn step_within(&mut self, step: Step, limit: Duration) -> Result<(), StepError> {
        match tokio::time::timeout(limit, Box::pin(self.step(step))).await {
            Ok(done) => done,
            Err(_) => {
                let (step, limit) = (step.word(), format_duration(limit));
                Err(StepError::surroundings(format!("`{step}` did not end within {limit}")))
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), StepError> {
        let subject = self.plan().subject();
        self.context.listener.receive(&Event::StepBegun { subject: subject.clone(), step });
        let begun = Instant::now();
        self.write(step, Mark::Started, Note::default())?;
        let note = self.act(step).await?;
        self.write(step, Mark::Done, note)?;
        let took = begun.elapsed();
        self.context.listener.receive(&Event::StepDone { subject, step, took });
        if step == Step::Clean { Ok(ending::close(self.context, &self.journal)?) } else { Ok(()) }
    }

    /// Carries out one step, and returns what became known.
    async fn act(&mut self, step: Step) -> Result<Note, StepError> {
        let UpdateContext { ports, .. } = self.context;
        let inspector = Inspector::of(ports.engine(), &self.journal);
        match step {
            Step::Pull => return steps::pull(self.context, self.plan()).await,
            Step::Sync => images::flush(ports).await?,
            Step::Create => return steps::create(self.context, inspector).await,
            Step::Run => {
                let (context, begun) = (self.context, self.begun);
                let (journal, gap) = (&mut self.journal, &mut self.gap);
                steps::RunJobs { context, journal, gap, begun }.run().await?;
            }
            Step::Launch => steps::launch(ports.engine(), inspector, &mut self.watches).await?,
            Step::Prove => {
                let (watches, hooks) = (&mut self.watches, &mut self.watchtower_hooks);
                steps::prove(self.context, inspector, watches, hooks).await?;
            }
            Step::Join => {
                let hooks = &mut self.watchtower_hooks;
                steps::join(self.context, inspector, hooks).await?;
            }
            Step::Switch => {
                steps::arm_restart_policy(self.context, inspector, self.begun).await?;
                hooks::run_pre_stop(self.context, inspector).await?;
                self.gap.begin();
                if self.plan().strategy.starts_first() {
                    steps::rename_and_stop(ports.engine(), inspector, self.begun).await?;
                    return Ok(Note { gap_milliseconds: Some(0), ..Note::default() });
                }
                steps::stop_and_rename(ports.engine(), inspector, self.begun).await?;
            }
            Step::Start => {
                let watches = &mut self.watches;
                steps::start(ports.engine(), inspector, watches, self.begun).await?;
                if !self.plan().members.is_empty() {
                    let (gap, new) = (self.gap, inspector.new_id(0)?);
                    let gap_milliseconds = gap.milliseconds(inspector, ports.host(), &new).await;
                    return Ok(Note { gap_milliseconds, ..Note::default() });
                }
            }
            Step::Verify => {
                let (watches, hooks) = (&mut self.watches, &mut self.watchtower_hooks);
                steps::verify(self.context, &mut self.journal, watches, hooks).await?;
            }
            Step::Commit => steps::commit(self.context, inspector, self.begun).await?,
            Step::Clean => {
                hooks::run_after_commit(self.context, inspector).await?;
                steps::clean(self.context, &mut self.journal).await?;
            }
        }
        Ok(Note::default())
    }

    /// Records why the update is rolled back, refuses the digest if the image is the cause, and
    /// rolls back.
    ///
    /// The refusal is written before anything is undone, so that a bad digest is never started
    /// again. If it cannot be written, the rollback comes first, and the journal stays open until
    /// it is written.
    async fn turn_back(&mut self, cause: Cause) -> Result<(), StepError> {
        let is_news = self.journal.progress.failed.is_none();
        let mut written = Ok(());
        if is_news {
            let step = self.journal.progress.begun.unwrap_or(Step::Pull);
            let note = Note { cause: Some(cause.clone()), ..Note::default() };
            let subject = self.plan().subject();
            self.context.listener.receive(&Event::RollingBack { subject, cause: cause.clone() });
            written = self.write(step, Mark::Failed, note);
            self.journal.progress.failed = Some(cause);
        }
        let starts_first = self.plan().strategy.starts_first();
        if starts_first && self.journal.progress.old_may_be_down() && is_news {
            // Until now the new container has served.
            self.gap.begin();
        }
        let remembered = written
            .and_then(|()| ending::remember_failure(self.context.ports, &self.journal, is_news));
        let (context, journal) = (self.context, &mut self.journal);
        Rollback { context, journal, gap: self.gap, begun: self.begun }.run().await?;
        hooks::run_post_rollback(self.context, self.inspector()).await?;
        remembered?;
        Ok(ending::close(self.context, &self.journal)?)
    }

    fn write(&mut self, step: Step, mark: Mark, note: Note) -> Result<(), JournalError> {
        self.context.write(&mut self.journal, step, mark, note)
    }
}
