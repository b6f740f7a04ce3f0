//! The step run: each job of the plan runs to its end, in a fresh copy with the new image.
//!
//! The entry with the number of the run is on the disk before each start, and the exit code right
//! after the end. So a job that is known to have ended well never runs again, and a job that the
//! power cuts each time is not begun without a limit.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sync_wrapper::SyncWrapper;
use tokio::time::Instant;

use super::create::create_job;
use super::{Begun, arm_restart_policy, check_unlocked, start_failed, stop_members};
use crate::core::docker::inspect;
use crate::core::group::job::{CopyState, JOB_RUNS_MAX, JobAction, JobFailure, JobState};
use crate::core::time::duration::format_duration;
use crate::core::update::history::Cause;
use crate::core::update::{JobNote, Mark, Note, Step};
use crate::engine::{ContainerEvent, Containers};
use crate::execute::engine_return::check_engine_stayed;
use crate::execute::inspector::Inspector;
use crate::execute::service_gap::ServiceGap;
use crate::execute::{StepError, UpdateContext, hooks};
use crate::host::Host;
use crate::journal::{JournalError, UpdateJournal};
use crate::ports::Ports;

/// How many of the last log lines of a job are kept.
const JOB_LOG_LINES_MAX: usize = 40;

/// The longest time between two looks at a job that runs: an event stream can be silent because its
/// other end is gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// How a run ended, or that it did not.
enum JobEnd {
    /// It ended by itself.
    Ended { code: i64 },
    /// A person or another program stopped or removed it.
    Person(&'static str),
    /// It took longer than its time.
    Overrun,
}

/// The jobs of one update.
pub(in crate::execute) struct RunJobs<'a, P: Ports> {
    pub(in crate::execute) context: UpdateContext<'a, P>,
    pub(in crate::execute) journal: &'a mut UpdateJournal,
    pub(in crate::execute) gap: &'a mut ServiceGap,
    pub(in crate::execute) begun: Begun,
}

/// The events of one container.
type JobEvents = SyncWrapper<BoxStream<'static, ContainerEvent>>;

impl<P: Ports> RunJobs<'_, P> {
    /// Runs all jobs, one after another. A job that has ended well is not run again.
    ///
    /// # Errors
    /// Why the update is rolled back or decided again. Nothing was replaced.
    pub(in crate::execute) async fn run(mut self) -> Result<(), StepError> {
        if self.journal.header.plan.stops_for_jobs() {
            self.stop_members().await?;
        }
        for number in self.journal.header.plan.job_numbers() {
            self.run_job(number).await?;
        }
        Ok(())
    }

    /// Stops the members first, because the old code cannot bear the new schema. It is the same
    /// stop as that of the switch, and has the same safety net.
    async fn stop_members(&mut self) -> Result<(), StepError> {
        let engine = self.context.ports.engine();
        if !self.journal.progress.known.stops_for_jobs {
            check_unlocked(engine, self.inspector()).await?;
            self.write(Note { stops_for_jobs: true, ..Note::default() })?;
        }
        arm_restart_policy(self.context, self.inspector(), self.begun).await?;
        hooks::run_pre_stop(self.context, self.inspector()).await?;
        self.gap.begin();
        stop_members(engine, self.inspector(), self.begun).await
    }

    async fn run_job(&mut self, number: usize) -> Result<(), StepError> {
        if self.job(number).has_succeeded() {
            return Ok(());
        }
        loop {
            // The stream is open before the look, so that no end falls between the two.
            let mut events = self.events(number).await?;
            let copy = self.look(number).await?;
            let JobNote { runs, is_used, .. } = self.job(number);
            let ended = match (JobState { copy, runs, is_used }).action() {
                JobAction::Succeeded => JobEnd::Ended { code: 0 },
                JobAction::Failed(JobFailure::Code(code)) => JobEnd::Ended { code },
                JobAction::Failed(JobFailure::CutOff) => return Err(self.cut_off(number)),
                JobAction::Wait => {
                    let ended = self.await_end(number, &mut events).await?;
                    // An Engine that was killed sends a signal to what it finds running.
                    let has_ended = matches!(ended, JobEnd::Ended { .. });
                    if has_ended && !self.engine_stayed_since_start().await? {
                        continue;
                    }
                    ended
                }
                JobAction::Start { is_fresh: false } => {
                    self.replace_copy(number).await?;
                    continue;
                }
                JobAction::Start { is_fresh: true } => {
                    self.start(number).await?;
                    self.await_end(number, &mut events).await?
                }
            };
            return self.judge(number, ended).await;
        }
    }

    /// Records the end of a run. Anything but exit code 0 fails the update.
    async fn judge(&mut self, number: usize, ended: JobEnd) -> Result<(), StepError> {
        let name = self.name(number);
        match ended {
            JobEnd::Ended { code } => {
                let log = self.last_lines(number).await;
                let job = JobNote { exit_code: Some(code), log, ..self.job(number) };
                self.write(Note { jobs: vec![job], ..Note::default() })?;
                if code == 0 {
                    return Ok(());
                }
                Err(self.failed(number, format!("the job {name} ended with exit code {code}")))
            }
            // The rollback stops it, when the failure is on the disk.
            JobEnd::Overrun => {
                let plan = &self.journal.header.plan;
                let limit = plan.job(number).map_or(Duration::ZERO, |job| job.timeout);
                let limit = format_duration(limit);
                Err(self.failed(number, format!("the job {name} did not end within {limit}")))
            }
            JobEnd::Person(what) => {
                let detail = format!("a person or another program {what} the job {name}");
                Err(StepError::Cause(Cause::person(detail)))
            }
        }
    }

    fn failed(&self, number: usize, detail: String) -> StepError {
        StepError::Cause(Cause::image(detail).of_member(number))
    }

    fn cut_off(&self, number: usize) -> StepError {
        let name = self.name(number);
        self.failed(number, format!("the job {name} was cut off {JOB_RUNS_MAX} times"))
    }

    /// What the Engine says about the copy of a job.
    async fn look(&self, number: usize) -> Result<CopyState, StepError> {
        let Some(copy) = self.inspector().new_container(number).await? else {
            return Ok(CopyState::Gone);
        };
        Ok(match (inspect::is_running(&copy), inspect::was_started(&copy)) {
            (true, _) => CopyState::Works,
            (false, false) => CopyState::Created,
            (false, true) => CopyState::Ended {
                code: inspect::exit_code(&copy),
                by_itself: self.engine_stayed_since_start().await?,
            },
        })
    }

    /// Whether it is certain that the Engine and the machine ran on since the update began: an old
    /// container that was never stopped still runs; or one that was stopped for the job, and that
    /// every start of the Engine starts, is still down.
    async fn engine_stayed_since_start(&self) -> Result<bool, StepError> {
        let inspector = self.inspector();
        if inspector.header().boot_id != self.context.ports.host().boot_id() {
            return Ok(false);
        }
        let are_stopped = inspector.progress().known.stops_for_jobs;
        for number in inspector.members() {
            let state = inspector.member_state(number).await?;
            let tells = !are_stopped || !inspector.plan().member(number).restart_policy.is_no();
            let is_as_left = state.old.is_some_and(|old| old.running != are_stopped);
            if tells && is_as_left && !state.old_was_started_again {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces a copy that has ended, or that is gone, by a fresh one. Its own layer may hold what
    /// the cut left there.
    async fn replace_copy(&mut self, number: usize) -> Result<(), StepError> {
        let engine = self.context.ports.engine();
        if let Some(copy) = self.inspector().new_container(number).await? {
            engine.remove(inspect::id(&copy), true).await?;
        }
        let container = create_job(engine, self.inspector(), number).await?;
        let job = JobNote { container, is_used: false, ..self.job(number) };
        Ok(self.write(Note { jobs: vec![job], ..Note::default() })?)
    }

    async fn start(&mut self, number: usize) -> Result<(), StepError> {
        let copy = self.inspector().new_container(number).await?.unwrap_or_default();
        let (id, before) = (inspect::id(&copy).to_owned(), self.job(number));
        let job = JobNote { container: id.clone(), runs: before.runs + 1, is_used: true, ..before };
        self.write(Note { jobs: vec![job], ..Note::default() })?;
        match self.context.ports.engine().start(&id).await {
            Ok(()) => Ok(()),
            Err(error) => Err(start_failed(self.inspector(), number, error).await),
        }
    }

    /// Waits for the end of a run.
    ///
    /// # Errors
    /// The agent is asked to stop, and the copy runs on; or the Engine went away, and it is not
    /// known how the copy ended.
    async fn await_end(&self, number: usize, events: &mut JobEvents) -> Result<JobEnd, StepError> {
        let id = self.inspector().new_id(number)?;
        let timeout = self.journal.header.plan.job(number).map(|job| job.timeout);
        let deadline = Instant::now() + timeout.unwrap_or_default();
        let mut was_killed = false;
        loop {
            let look_at = deadline.min(Instant::now() + LOOK_INTERVAL);
            let event = tokio::select! {
                biased;
                event = events.get_mut().next() => Some(event),
                () = self.context.stop.cancelled() => return Err(StepError::Asked),
                () = tokio::time::sleep_until(look_at) => None,
            };
            match event {
                Some(Some(ContainerEvent::Died { code })) => {
                    check_engine_stayed(self.context.ports.engine(), ENGINE_LOST).await?;
                    let stopped = JobEnd::Person("stopped");
                    return Ok(if was_killed { stopped } else { JobEnd::Ended { code } });
                }
                Some(Some(ContainerEvent::Killed)) => was_killed = true,
                // The kernel kills it, and no person.
                Some(Some(ContainerEvent::OutOfMemory)) => was_killed = false,
                Some(Some(ContainerEvent::Destroyed)) => return Ok(JobEnd::Person("removed")),
                Some(Some(_)) => {}
                Some(None) => return Err(StepError::Spoilt(ENGINE_LOST.into())),
                None if Instant::now() >= deadline => return Ok(JobEnd::Overrun),
                None => {
                    if let Some(ended) = self.has_ended_unheard(&id).await? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// The end of a run of which no event has told. Without its event it is not known who ended it.
    async fn has_ended_unheard(&self, id: &str) -> Result<Option<JobEnd>, StepError> {
        match self.inspector().container(id).await? {
            None => Ok(Some(JobEnd::Person("removed"))),
            Some(copy) if inspect::is_running(&copy) => Ok(None),
            Some(_) => Err(StepError::Spoilt("the end of a job was missed".into())),
        }
    }

    /// The events of the copy of a job; none if there is no copy.
    async fn events(&self, number: usize) -> Result<JobEvents, StepError> {
        let copy = self.inspector().new_container(number).await?;
        Ok(SyncWrapper::new(match &copy {
            Some(copy) => self.context.ports.engine().events(inspect::id(copy)).await?,
            None => futures_util::stream::empty().boxed(),
        }))
    }

    /// The last log lines of a job. They are for people, and nothing depends on them.
    async fn last_lines(&self, number: usize) -> Vec<String> {
        let Ok(id) = self.inspector().new_id(number) else { return Vec::new() };
        self.context.ports.engine().logs(&id, JOB_LOG_LINES_MAX).await.unwrap_or_default()
    }

    fn job(&self, number: usize) -> JobNote {
        let known = self.journal.progress.known.job(number).cloned();
        known.unwrap_or_else(|| JobNote { number, ..JobNote::default() })
    }

    fn name(&self, number: usize) -> String {
        self.journal.header.plan.member(number).container.clone()
    }

    fn inspector(&self) -> Inspector<'_, P::Engine> {
        Inspector::of(self.context.ports.engine(), self.journal)
    }

    fn write(&mut self, note: Note) -> Result<(), JournalError> {
        self.context.write(self.journal, Step::Run, Mark::Started, note)
    }
}

/// No end of a container counts that the end of the Engine may have caused.
const ENGINE_LOST: &str = "the Engine went away while a job ran";
