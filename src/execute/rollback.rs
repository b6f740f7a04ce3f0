//! The way back: undo ends in the recorded state, not in the reverse of our calls.
//!
//! Whatever is found is brought to what the journal's header recorded, so it does not matter how
//! often this is done, or what the Engine forgot in between.

use std::time::Duration;

use super::{StepError, TRIES_MAX, TRY_PAUSE, Update};
use crate::core::docker::inspect;
use crate::core::recreate::ReplacedContainer;
use crate::core::update::{Mark, MemberState, Note, Step};
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::ports::Ports;

/// How many of the last lines of a failed container are kept.
const LOG_LINES_MAX: usize = 40;

/// How long the old container may take until it is as healthy as it was.
const RETURN_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const RETURN_INTERVAL: Duration = Duration::from_millis(250);

/// Said where a person took the service down in the middle of its update.
const LEFT_AWAY: &str = "everything of it was removed during the update; it stays so";

/// Which of the tries to go back this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Another,
    Last,
}

impl<P: Ports> Update<'_, P> {
    /// Goes back, three times at most; an Engine that is away is waited for.
    pub(super) async fn go_back(&mut self) -> Result<(), StepError> {
        let mut attempt = Attempt::First;
        for _ in 1..TRIES_MAX {
            match self.undo(attempt).await {
                Err(StepError::Engine(error)) => {
                    self.await_next_attempt("going back", &error).await?
                }
                done => return done,
            }
            attempt = Attempt::Another;
        }
        self.undo(Attempt::Last).await
    }

    /// Says what went wrong, and waits until it makes sense to try again.
    pub(super) async fn await_next_attempt(
        &self,
        what: &str,
        error: &EngineError,
    ) -> Result<(), StepError> {
        self.warn(format!("{what} failed and is tried again: {error}"));
        if error.is_engine_unreachable() {
            return self.await_engine().await;
        }
        tokio::time::sleep(TRY_PAUSE).await;
        Ok(())
    }

    async fn undo(&mut self, attempt: Attempt) -> Result<(), StepError> {
        let mut restored = Vec::new();
        if self.journal.progress.begun >= Some(Step::Switch) {
            if self.nothing_to_go_back_to().await? {
                return self.keep_new_containers().await;
            }
            if self.is_taken_away().await? {
                self.warn(LEFT_AWAY);
            } else {
                self.note_undo(Step::Start, Mark::UndoStarted, Note::default());
                self.stop_new_containers(attempt).await?;
                self.note_undo(Step::Switch, Mark::UndoStarted, Note::default());
                restored = self.restore_old_containers().await?;
            }
        }
        self.remove_new_containers().await?;
        self.restore_images(attempt).await?;
        self.flush().await?;
        self.check_restored_stay(&restored).await
    }

    /// The way back writes what it does for people and for the history; it does not depend on it,
    /// so a full disk does not keep a service down.
    pub(super) fn note_undo(&mut self, step: Step, mark: Mark, note: Note) {
        if let Err(error) = self.write(step, mark, note) {
            self.warn(error.to_string());
        }
    }

    /// Both the old container and its image are gone: somebody pruned everything that did not run.
    async fn nothing_to_go_back_to(&self) -> Result<bool, StepError> {
        if self.inspector().old_container(0).await?.is_some()
            || self.inspector().external_container(0, &[]).await?.is_some()
        {
            return Ok(false);
        }
        let image = self.ports.engine().inspect_image(&self.plan().from.image_id).await?;
        Ok(image.is_none() && self.inspector().new_container(0).await?.is_some())
    }

    /// Nothing proven is left, so the unproven ones are better than none.
    async fn keep_new_containers(&mut self) -> Result<(), StepError> {
        self.warn("the old container and its image are gone; the new one is kept, unproven");
        let engine = self.ports.engine();
        for number in self.plan().numbers().skip(1).rev() {
            self.give_up(number).await?;
        }
        for (number, new) in self.inspector().new_ids()? {
            self.take_name(number, &new).await?;
            engine.start(&new).await?;
            engine.set_restart_policy(&new, &self.plan().member(number).restart_policy).await?;
        }
        Ok(())
    }

    /// Stops the new containers, what hangs on others first, and takes the names away from them.
    /// What they wrote stays readable.
    ///
    /// On a full disk the Engine can neither rename nor start anything. So where that failed once,
    /// the new ones go before the old ones are started: what they take is the room for that.
    async fn stop_new_containers(&mut self, attempt: Attempt) -> Result<(), StepError> {
        let engine = self.ports.engine();
        for number in self.plan().numbers().rev() {
            let Some(new) = self.inspector().new_container(number).await? else { continue };
            let (id, name) = (inspect::id(&new), self.plan().member(number).new_name());
            if inspect::is_running(&new) {
                engine.stop(id, inspect::stop_timeout(&new)).await?;
            }
            if attempt == Attempt::First && inspect::name(&new) != name {
                engine.rename(id, &name).await?;
            }
        }
        match attempt {
            Attempt::First => Ok(()),
            Attempt::Another | Attempt::Last => self.remove_new_containers().await,
        }
    }

    /// Brings the old containers back, each behind what it hangs on: their names, their lives,
    /// their restart policies.
    async fn restore_old_containers(&mut self) -> Result<Vec<ReplacedContainer>, StepError> {
        if self.is_restart_policy_armed().await? {
            for number in self.plan().numbers().rev() {
                self.await_running_stop(number).await?;
            }
        }
        let mut restored: Vec<ReplacedContainer> = Vec::new();
        let mut ours = Vec::new();
        for number in self.plan().numbers() {
            let id = match self.inspector().external_container(number, &restored).await? {
                Some(external_container) => {
                    self.make_room_for(number, &external_container, &restored).await?
                }
                None => match self.restore_old_container(number, &restored).await? {
                    Some(id) => {
                        ours.push(number);
                        id
                    }
                    None => return Ok(Vec::new()),
                },
            };
            restored.push(self.plan().replaced_by(number, id));
        }
        // The gap ends when they serve for the first time, not when the last image is gone.
        let is_first = !self.journal.progress.is_restored;
        let gap_milliseconds = match (self.gap_milliseconds(), restored.first()) {
            _ if !is_first => None,
            (Some(gap), _) => Some(gap),
            (None, Some(main)) => {
                self.inspector().gap_from_engine_times(&self.ports.host().boot_id(), &main.to).await
            }
            (None, None) => None,
        };
        let note = Note { gap_milliseconds, ..Note::default() };
        self.note_undo(Step::Switch, Mark::UndoDone, note);
        for number in ours {
            let (policy, id) = (&self.plan().member(number).restart_policy, &restored[number].to);
            if !policy.is_no() {
                self.ports.engine().set_restart_policy(id, policy).await?;
            }
            self.await_former_health(number, id).await?;
        }
        Ok(restored)
    }

    /// Brings one of them back, and gives its ID. `restored` are those before it.
    async fn restore_old_container(
        &mut self,
        number: usize,
        restored: &[ReplacedContainer],
    ) -> Result<Option<String>, StepError> {
        let old = self.inspector().old_container(number).await?;
        if let Some(old) = &old
            && self.journal.header.depends_as_before(number, old, restored)
        {
            let id = inspect::id(old).to_owned();
            self.take_name(number, &id).await?;
            self.ports.engine().start(&id).await?;
            return Ok(Some(id));
        }
        self.give_up(number).await?;
        let is_nothing_left = old.is_none()
            && self.plan().dependents.is_empty()
            && self.inspector().name_holder(number).await?.is_none();
        let id = self.recreate_old_container(number, restored).await?;
        self.take_name(number, &id).await?;
        match self.ports.engine().start(&id).await {
            Err(error) if error.is_not_found() && is_nothing_left => {
                self.leave_removed(&id, &error).await?;
                Ok(None)
            }
            started => Ok(started.map(|()| Some(id))?),
        }
    }

    /// Not only the old container is gone but also what it cannot be started without, such as its
    /// network: somebody took the whole project down, and brings it up again when they want it.
    async fn leave_removed(&self, id: &str, error: &EngineError) -> Result<(), StepError> {
        self.warn(format!("{LEFT_AWAY}: {error}"));
        self.ports.engine().remove(id, false).await?;
        Ok(())
    }

    /// A client that is killed, or that loses its connection, does not cancel a stop: the old
    /// container would end after it was seen to run. Asking for the same stop once more waits for
    /// its end. What cannot be stopped goes on running, which is what is wanted here.
    async fn await_running_stop(&self, number: usize) -> Result<(), StepError> {
        let MemberState { old, old_was_started_again, .. } =
            self.inspector().member_state(number).await?;
        let may_be_asked = (self.stopped_at.is_some() || self.is_taken_up)
            && self.journal.progress.is_in_switch()
            && !old_was_started_again;
        if !old.is_some_and(|old| may_be_asked && old.running) {
            return Ok(());
        }
        match self.stop_old_container(number).await {
            Err(error) if error.is_engine_unreachable() => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives a container the name of its service. Who holds the name without being part of this
    /// update was put there by somebody, and stays.
    async fn take_name(&self, number: usize, id: &str) -> Result<(), StepError> {
        let name = &self.plan().member(number).container;
        match self.inspector().name_holder(number).await? {
            Some(holder) if inspect::id(&holder) == id => Ok(()),
            Some(_) => Err(EngineError::Conflict {
                message: format!("another container named {name} was made during the update"),
            }
            .into()),
            None => Ok(self.ports.engine().rename(id, name).await?),
        }
    }

    /// Waits until an old container is as well as it was when the update began. There is nothing
    /// more to go back to, so what is not well then is said, and left.
    async fn await_former_health(&self, number: usize, id: &str) -> Result<(), StepError> {
        let original = self.journal.header.original_of(number);
        let was_healthy = inspect::health(original) == Some("healthy");
        let deadline = tokio::time::Instant::now() + RETURN_TIMEOUT;
        loop {
            let document = self.ports.engine().inspect(id).await?.unwrap_or_default();
            let runs = inspect::is_running(&document);
            let healthy = inspect::health(&document) == Some("healthy");
            if runs && (healthy || !was_healthy) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline || self.stop.is_cancelled() {
                let detail = "the old container runs again, but is not as well as it was";
                self.warn(self.plan().naming(number, detail));
                return Ok(());
            }
            tokio::time::sleep(RETURN_INTERVAL).await;
        }
    }

    /// Keeps what the failed containers wrote, then removes them with the anonymous volumes that
    /// are their own; re-attached ones belong to the old ones and stay.
    async fn remove_new_containers(&mut self) -> Result<(), StepError> {
        let mut log = Vec::new();
        let mut left = Vec::new();
        for number in self.plan().numbers() {
            let Some(new) = self.inspector().new_container(number).await? else { continue };
            let id = inspect::id(&new).to_owned();
            if inspect::was_started(&new) {
                let lines = self.ports.engine().logs(&id, LOG_LINES_MAX).await.unwrap_or_default();
                log.extend(lines.into_iter().map(|line| self.quoting(number, line)));
            }
            // Volumes of its own go with one that the journal knows, or that never had a life.
            let is_known = self.journal.progress.known.new_container_of(number) == Some(&*id);
            left.push((id, is_known || !inspect::was_started(&new)));
        }
        if !log.is_empty() {
            self.note_undo(Step::Create, Mark::UndoStarted, Note { log, ..Note::default() });
        }
        for (id, volumes) in left.iter().rev() {
            self.ports.engine().remove(id, *volumes).await?;
        }
        if !left.is_empty() {
            self.note_undo(Step::Create, Mark::UndoDone, Note::default());
        }
        Ok(())
    }

    /// A line of a log, with whose it is where there are several.
    fn quoting(&self, number: usize, line: String) -> String {
        let plan = self.plan();
        let name = &plan.member(number).container;
        if plan.dependents.is_empty() { line } else { format!("{name}: {line}") }
    }
}
