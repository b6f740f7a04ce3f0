//! Floor 2: carries out a plan. Journal, act, journal; back on every failure.
//!
//! This is a `for` over steps with one `match`. A rule that is about to be added here belongs in
//! `core/`. Every act is written so that doing it twice does no harm, because after a power cut
//! nobody knows whether it was done: the journal, the Engine's answer and the Engine's disk may
//! each be ahead of the others.

mod prefetch;
mod rollback;
mod commit;
mod compose_race;
mod context;
mod create;
mod post_update;
mod images;
mod places;
mod pull;
mod rollback_images;
mod actual_state;
mod start_requirements;
mod stop;
mod external_changes;
mod switch;
mod step_error;
mod verify;
mod health_watch;

pub use context::UpdateContext;
pub use images::drop_if_unused;
pub use places::Places;
pub use prefetch::{drop_superseded, fetched, prefetch, prefetch_and_tag};
pub use step_error::StepError;

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::time::duration::format_duration;
use crate::core::update::event::{Event, Listener};
use crate::core::update::history::{Cause, Record};
use crate::core::update::outcome;
use crate::core::update::plan::{Header, Plan};
use crate::core::update::time_limits::limit;
use crate::core::update::{Mark, Note, Resume, Step, resume};
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;
use places::Place;

/// How long to wait for an Engine that went away under an update. An Engine restart takes seconds,
/// on a Pi with many containers a minute.
pub const ENGINE_RETURN_TIMEOUT: Duration = Duration::from_secs(180);

/// How often to ask whether it is back.
pub const ENGINE_RETURN_INTERVAL: Duration = Duration::from_millis(250);

/// How often the way back, or the cleaning up, is tried before it is left to the next round.
const TRIES_MAX: u32 = 3;

/// The pause between two tries; the Engine may be busy with the container.
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// How an update left this module.
#[derive(Debug)]
pub enum Ended {
    /// It is over, one way or the other.
    Finished(Box<Record>),
    /// The agent was asked to stop; the journal says where.
    Left,
    /// Neither way could be finished now; the journal stays, and is taken up again.
    Unfinished(Box<UpdateJournal>, StepError),
}

/// One update in flight.
pub struct Update<'a, P: Ports> {
    context: UpdateContext<'a, P>,
    ports: &'a P,
    listener: &'a dyn Listener,
    stop: &'a CancellationToken,
    journal: UpdateJournal,
    /// When the old container was told to stop. Gone with the process: nobody can measure a gap
    /// across a power cut.
    stopped_at: Option<Instant>,
    /// Whether an earlier process, or an earlier try, began it.
    is_taken_up: bool,
    /// An ear on each new container, from before its start.
    watches: Vec<health_watch::HealthWatch>,
    /// Whether this process has begun the hooks after the start.
    has_run_post_update: bool,
}

impl<'a, P: Ports> Update<'a, P> {
    /// Begins an update: its journal is on the disk on return, nothing else is done.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn begin(context: UpdateContext<'a, P>, header: Header) -> Result<Self, JournalError> {
        let plan = &header.plan;
        context.listener.hear(&Event::UpdateBegun {
            subject: plan.subject(),
            image: plan.main.image.clone(),
            from: plan.from.digest.clone(),
            to: plan.to.index.clone(),
            dependents: plan.dependent_names(),
        });
        let journal = context.ports.state().begin(header)?;
        Ok(Self::of(context, journal))
    }

    /// An update whose journal exists.
    pub fn of(context: UpdateContext<'a, P>, journal: UpdateJournal) -> Self {
        let UpdateContext { ports, listener, stop, .. } = context;
        Self {
            context,
            ports,
            listener,
            stop,
            journal,
            stopped_at: None,
            is_taken_up: false,
            watches: Vec::new(),
            has_run_post_update: false,
        }
    }

    /// What its journal says so far.
    #[must_use]
    pub const fn journal(&self) -> &UpdateJournal {
        &self.journal
    }

    fn plan(&self) -> &Plan {
        &self.journal.header.plan
    }

    /// Carries the update out from its first step.
    pub async fn run(mut self) -> Ended {
        let error = self.forward(Step::Pull).await.err();
        self.finish(error).await
    }

    /// Finishes or undoes an update that was left open.
    pub async fn take_up(mut self) -> Ended {
        self.is_taken_up = true;
        let error = self.decide_again().await.err();
        self.finish(error).await
    }

    /// Turns trouble into the way back, as often as it takes, until there is none.
    ///
    /// Bounded: every turn of the loop either ends, or counts one more verification in the
    /// journal, or has recorded a cause, after which only the way back is left.
    async fn finish(&mut self, mut error: Option<StepError>) -> Ended {
        while let Some(problem) = error {
            let progress = &self.journal.progress;
            let has_one_way = progress.failed.is_some() || progress.done >= Some(Step::Commit);
            error = match problem {
                StepError::Asked => return Ended::Left,
                // Nothing more can be learned now: the journal stays open, and is taken up again.
                problem if has_one_way || matches!(problem, StepError::EngineStaysAway(_)) => {
                    return Ended::Unfinished(Box::new(self.journal.clone()), problem);
                }
                problem => self.handle(problem).await.err(),
            };
        }
        Ended::Finished(Box::new(self.record()))
    }

    async fn handle(&mut self, problem: StepError) -> Result<(), StepError> {
        match problem.into_cause() {
            Ok(cause) => self.turn_back(cause).await,
            Err(_) => self.decide_again().await,
        }
    }

    /// Looks at what the Engine says now, and goes on or back.
    async fn decide_again(&mut self) -> Result<(), StepError> {
        self.await_engine().await?;
        let reality = self.reality().await?;
        let resume = resume(&self.journal.progress, &reality);
        let intent = match &resume {
            Resume::Forward(step) => format!("going on with {}", step.word()),
            Resume::Back(cause) => format!("going back: {}", cause.detail),
        };
        self.listener.hear(&Event::TakenUp { subject: self.plan().subject(), intent });
        match resume {
            Resume::Forward(step) => self.forward(step).await,
            Resume::Back(cause) => self.turn_back(cause).await,
        }
    }

    /// Waits until the Engine answers, and says that it waits. An Engine that stays away for longer
    /// is no reason to hold up everything else: the update is taken up when it is back.
    async fn await_engine(&self) -> Result<(), StepError> {
        let deadline = Instant::now() + ENGINE_RETURN_TIMEOUT;
        let mut is_said = false;
        loop {
            match self.ports.engine().info().await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(StepError::EngineStaysAway(error));
                }
                Err(_) if self.stop.is_cancelled() => return Err(StepError::Asked),
                Err(error) => {
                    if !std::mem::replace(&mut is_said, true) {
                        self.warn(format!("the update waits for the Engine: {error}"));
                    }
                    tokio::time::sleep(ENGINE_RETURN_INTERVAL).await;
                }
            }
        }
    }

    async fn forward(&mut self, from: Step) -> Result<(), StepError> {
        // Free again after the start, and wherever this is left before it.
        let mut switch_place: Option<Place<'_>> = None;
        for step in Step::ALL.into_iter().filter(|step| *step >= from) {
            if self.stop.is_cancelled() && step < Step::Commit && step != Step::Start {
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

    /// Takes the place to switch, before the journal says that the switch has begun. Where others
    /// had it, everything that may have changed meanwhile is looked at again: nothing is stopped
    /// yet. A switch that was begun before does not wait, because its service may be down.
    async fn switch_place(&self) -> Result<Option<Place<'a>>, StepError> {
        let places = self.context.places;
        if self.journal.progress.begun >= Some(Step::Switch) {
            return Ok(places.for_switch_begun_before());
        }
        let place = places.for_switch(self.stop).await?;
        if place.has_waited() {
            self.check_nothing_changed().await?;
        }
        Ok(Some(place))
    }

    /// What was true before the new containers were made is still true.
    async fn check_nothing_changed(&self) -> Result<(), StepError> {
        self.let_compose_finish().await?;
        self.check_no_new_dependents().await?;
        self.check_old_containers_run().await?;
        let new: Vec<_> = self.new_containers()?.into_iter().map(|(_, id)| id).collect();
        self.check_start_requirements(&new).await
    }

    /// A step that is cut short leaves what a kill in the same moment would leave.
    async fn step_within(&mut self, step: Step, limit: Duration) -> Result<(), StepError> {
        match tokio::time::timeout(limit, Box::pin(self.step(step))).await {
            Ok(done) => done,
            Err(_) => {
                let (step, limit) = (step.word(), format_duration(limit));
                Err(StepError::surroundings(format!(
                    "`{step}` did not come to an end within {limit}"
                )))
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), StepError> {
        let subject = self.plan().subject();
        self.listener.hear(&Event::StepBegun { subject: subject.clone(), step });
        let begun = Instant::now();
        self.write(step, Mark::Started, Note::default())?;
        let note = match step {
            Step::Pull => self.pull().await?,
            Step::Sync => self.sync().await?,
            Step::Create => self.create().await?,
            Step::Switch => self.switch().await?,
            Step::Start => self.start().await?,
            Step::Verify => self.verify().await?,
            Step::Commit => self.commit().await?,
            Step::Clean => return self.clean_up(begun).await,
        };
        self.write(step, Mark::Done, note)?;
        self.listener.hear(&Event::StepDone { subject, step, took: begun.elapsed() });
        Ok(())
    }

    /// Records why the way leads back, refuses the digest if the image is to blame, and goes.
    ///
    /// The refusal is written before anything is undone: a digest once judged bad is never started
    /// again. Where it cannot be written, the service comes first, and the journal stays open
    /// until it is written.
    async fn turn_back(&mut self, cause: Cause) -> Result<(), StepError> {
        let is_news = self.journal.progress.failed.is_none();
        let mut written = Ok(());
        if is_news {
            let step = self.journal.progress.begun.unwrap_or(Step::Pull);
            let note = Note { cause: Some(cause.clone()), ..Note::default() };
            let subject = self.plan().subject();
            self.listener.hear(&Event::GoingBack { subject, cause: cause.clone() });
            written = self.write(step, Mark::Failed, note);
            self.journal.progress.failed = Some(cause);
        }
        let remembered = written.and_then(|()| self.remember_failure(is_news));
        self.go_back().await?;
        remembered?;
        self.close()
    }

    /// Remembers why the way leads back, as far as the next round must know it.
    fn remember_failure(&self, is_news: bool) -> Result<(), JournalError> {
        let progress = &self.journal.progress;
        let Some(cause) = &progress.failed else { return Ok(()) };
        let (at, was_outage) = (self.ports.host().now(), progress.begun >= Some(Step::Switch));
        let failed = self.plan().failed_try(cause.detail.clone(), at, was_outage);
        let mut memory = self.ports.state().memory()?;
        if memory.note_failure(&self.plan().subject(), cause.fault, failed, is_news) {
            self.ports.state().remember(&memory)?;
        }
        Ok(())
    }

    /// The line of history for what the journal says.
    fn record(&self) -> Record {
        outcome::record(&self.journal.header, &self.journal.progress, self.ports.host().now())
    }

    /// History first, then the journal goes: a cut between them finds the record again.
    fn close(&self) -> Result<(), StepError> {
        let record = self.record();
        self.ports.state().record(&record)?;
        self.ports.state().close(&self.journal)?;
        self.listener.hear(&Event::UpdateEnded(Box::new(record)));
        Ok(())
    }

    fn write(&mut self, step: Step, mark: Mark, note: Note) -> Result<(), JournalError> {
        let now = self.ports.host().now();
        self.ports.state().write(&mut self.journal, now, step, mark, note)
    }

    /// How long not all proven containers have been running, in milliseconds.
    fn gap_milliseconds(&self) -> Option<u64> {
        u64::try_from(self.stopped_at?.elapsed().as_millis()).ok()
    }

    /// Says of which member something is told, where it is not the main one.
    fn naming(&self, number: usize, detail: impl Into<String>) -> String {
        match number {
            0 => detail.into(),
            number => format!("{}: {}", self.plan().member(number).container, detail.into()),
        }
    }

    /// A container that is gone although it was seen to run: no clean-up takes one that runs, so a
    /// person did. Of an update that is taken up again nobody knows when it went.
    fn removed(&self, which: &str, error: EngineError, number: usize) -> StepError {
        if !error.is_not_found() || self.is_taken_up {
            return error.into();
        }
        let detail = format!("somebody removed the {which} container during the update");
        StepError::Cause(Cause::person(self.naming(number, detail)))
    }

    fn warn(&self, detail: impl Into<String>) {
        let subject = Some(self.plan().subject());
        self.listener.hear(&Event::Warning { subject, detail: detail.into() });
    }
}
