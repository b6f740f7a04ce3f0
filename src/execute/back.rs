//! The way back: undo ends in the recorded state, not in the reverse of our calls.
//!
//! Whatever is found is brought to what the journal's header recorded, so it does not matter how
//! often this is done, or what the Engine forgot in between.

use std::time::Duration;

use serde_json::Value;

use super::{TRIES_MAX, TRY_PAUSE, Trouble, Update};
use crate::core::docker::inspect;
use crate::core::recreate::dependents::anchors;
use crate::core::recreate::{Moved, RestartPolicy};
use crate::core::update::{Mark, Note, Pair, Step};
use crate::engine::{Engine, EngineError};
use crate::world::Ports;

/// How many of the last lines of a failed container are kept.
const LOG_LINES_MAX: usize = 40;

/// How long the old container may take until it is as healthy as it was.
const RETURN_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const RETURN_INTERVAL: Duration = Duration::from_millis(250);

/// Which of the tries to go back this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Another,
    Last,
}

impl<P: Ports> Update<'_, P> {
    /// Goes back, three times at most; an Engine that is away is waited for.
    pub(super) async fn go_back(&mut self) -> Result<(), Trouble> {
        let mut attempt = Attempt::First;
        for _ in 1..TRIES_MAX {
            match self.undo(attempt).await {
                Err(Trouble::Engine(error)) => {
                    self.await_the_next_try("going back", &error).await?
                }
                done => return done,
            }
            attempt = Attempt::Another;
        }
        self.undo(Attempt::Last).await
    }

    /// Says what went wrong, and waits until it makes sense to try again.
    pub(super) async fn await_the_next_try(
        &self,
        what: &str,
        error: &EngineError,
    ) -> Result<(), Trouble> {
        self.warn(format!("{what} failed and is tried again: {error}"));
        if error.is_the_engine_away() {
            return self.await_engine().await;
        }
        tokio::time::sleep(TRY_PAUSE).await;
        Ok(())
    }

    async fn undo(&mut self, attempt: Attempt) -> Result<(), Trouble> {
        if self.journal.progress.begun >= Some(Step::Switch) {
            if self.nothing_to_go_back_to().await? {
                return self.keep_the_new_ones().await;
            }
            self.note_undo(Step::Start, Mark::UndoStarted, Note::default());
            self.stand_the_new_ones_down(attempt).await?;
            self.note_undo(Step::Switch, Mark::UndoStarted, Note::default());
            self.restore_the_old_ones().await?;
        }
        self.remove_the_new_ones().await?;
        self.restore_images(attempt).await?;
        self.flush().await
    }

    /// The way back writes what it does for people and for the history; it does not depend on it,
    /// so a full disk does not keep a service down.
    pub(super) fn note_undo(&mut self, step: Step, mark: Mark, note: Note) {
        if let Err(error) = self.write(step, mark, note) {
            self.warn(error.to_string());
        }
    }

    /// The container that bears the name of a member without being part of this update: a person,
    /// or Compose, made it while the name was free.
    async fn stranger(&self, number: usize) -> Result<Option<Value>, Trouble> {
        let Some(holder) = self.holder_of_the_name(number).await? else { return Ok(None) };
        let new = self.look_at_new(number).await?;
        let old = self.plan().member(number).old_container.as_str();
        let ours = [Some(old), new.as_ref().map(inspect::id)];
        let is_strange = !ours.contains(&Some(inspect::id(&holder)));
        // Where the old one is gone, one on its image is the old one made again.
        let is_remade = inspect::image_id(&holder) == self.old_image(number)
            && self.look_at_old(number).await?.is_none();
        Ok(Some(holder).filter(|_| is_strange && !is_remade))
    }

    /// What somebody else made stays. Where it runs it is the service now, and the old one goes; a
    /// parked one would be started beside it at the next boot. Where it does not run, the old one
    /// serves under its parked name until a person decides.
    async fn make_room_for(&self, number: usize, stranger: &Value) -> Result<String, Trouble> {
        let (engine, old) = (self.ports.engine(), self.look_at_old(number).await?);
        let name = &self.plan().member(number).container;
        let message = format!("another container named {name} was made during the update");
        if !inspect::is_running(stranger) {
            if let Some(old) = &old {
                engine.start(inspect::id(old)).await?;
            }
            return Err(EngineError::Conflict { message }.into());
        }
        self.warn(format!("{message}; it is the service now"));
        self.give_up(number).await?;
        Ok(inspect::id(stranger).to_owned())
    }

    /// Removes the old container of a member; its volumes stay.
    async fn give_up(&self, number: usize) -> Result<(), Trouble> {
        let Some(old) = self.look_at_old(number).await? else { return Ok(()) };
        let (engine, id) = (self.ports.engine(), inspect::id(&old));
        engine.set_restart_policy(id, &RestartPolicy::no()).await?;
        self.stop_the_old_one(number).await?;
        engine.remove(id, false).await?;
        Ok(())
    }

    /// Both the old container and its image are gone: somebody pruned everything that did not run.
    async fn nothing_to_go_back_to(&self) -> Result<bool, Trouble> {
        if self.look_at_old(0).await?.is_some() || self.stranger(0).await?.is_some() {
            return Ok(false);
        }
        let image = self.ports.engine().inspect_image(&self.plan().from.image_id).await?;
        Ok(image.is_none() && self.look_at_new(0).await?.is_some())
    }

    /// Nothing proven is left, so the unproven ones are better than none.
    async fn keep_the_new_ones(&mut self) -> Result<(), Trouble> {
        self.warn("the old container and its image are gone; the new one is kept, unproven");
        let engine = self.ports.engine();
        for number in self.plan().numbers().skip(1).rev() {
            self.give_up(number).await?;
        }
        for (number, new) in self.new_containers()?.into_iter().enumerate() {
            self.take_the_name(number, &new).await?;
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
    async fn stand_the_new_ones_down(&mut self, attempt: Attempt) -> Result<(), Trouble> {
        let engine = self.ports.engine();
        for number in self.plan().numbers().rev() {
            let Some(new) = self.look_at_new(number).await? else { continue };
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
            Attempt::Another | Attempt::Last => self.remove_the_new_ones().await,
        }
    }

    /// Brings the old containers back, each behind what it hangs on: their names, their lives,
    /// their restart policies.
    async fn restore_the_old_ones(&mut self) -> Result<(), Trouble> {
        for number in self.plan().numbers().rev() {
            self.await_a_stop_under_way(number).await?;
        }
        let mut restored: Vec<Moved> = Vec::new();
        for number in self.plan().numbers() {
            let id = match self.stranger(number).await? {
                Some(stranger) => self.make_room_for(number, &stranger).await?,
                None => self.restore_the_old_one(number, &restored).await?,
            };
            restored.push(self.moved(number, id));
        }
        // The gap ends when they serve for the first time, not when the last image is gone.
        let is_first = self.journal.progress.undone.is_none();
        let gap_milliseconds = self.gap_milliseconds().filter(|_| is_first);
        let note = Note { gap_milliseconds, ..Note::default() };
        self.note_undo(Step::Switch, Mark::UndoDone, note);
        for (number, Moved { to: id, .. }) in restored.iter().enumerate() {
            let policy = &self.plan().member(number).restart_policy;
            if self.stranger(number).await?.is_none() {
                if !policy.is_no() {
                    self.ports.engine().set_restart_policy(id, policy).await?;
                }
                self.see_it_well(number, id).await?;
            }
        }
        Ok(())
    }

    /// Brings one of them back, and gives its ID. `restored` are those before it.
    async fn restore_the_old_one(
        &mut self,
        number: usize,
        restored: &[Moved],
    ) -> Result<String, Trouble> {
        let id = match self.look_at_old(number).await? {
            Some(old) if self.hangs_on_what_it_should(number, &old, restored) => {
                inspect::id(&old).to_owned()
            }
            _ => {
                self.give_up(number).await?;
                self.make_the_old_one_again(number, restored).await?
            }
        };
        self.take_the_name(number, &id).await?;
        self.ports.engine().start(&id).await?;
        Ok(id)
    }

    /// Whether an old container hangs on what it hung on before. What that is may be another
    /// container by now, and an Engine that was restarted resolves the names in links anew.
    fn hangs_on_what_it_should(&self, number: usize, old: &Value, restored: &[Moved]) -> bool {
        let original = self.journal.header.original_of(number);
        if number == 0 || old.get("HostConfig").is_none() {
            return true;
        }
        let (Ok(mut before), Ok(mut now)) = (anchors(original), anchors(old)) else { return true };
        before.sort();
        now.sort();
        let is_lost = |moved: &Moved| {
            moved.from != moved.to && now.iter().any(|it| moved.from.starts_with(&it.container))
        };
        before == now && !restored.iter().any(is_lost)
    }

    /// A client that is killed, or that loses its connection, does not cancel a stop: the old
    /// container would end after it was seen to run. Asking for the same stop once more waits for
    /// its end. What cannot be stopped goes on running, which is what is wanted here.
    async fn await_a_stop_under_way(&self, number: usize) -> Result<(), Trouble> {
        let Pair { old, old_was_started_again, .. } = self.pair(number).await?;
        let may_be_asked = (self.stopped_at.is_some() || self.is_taken_up)
            && self.journal.progress.is_in_the_switch()
            && !old_was_started_again;
        if !old.is_some_and(|old| may_be_asked && old.running) {
            return Ok(());
        }
        match self.stop_the_old_one(number).await {
            Err(error) if error.is_the_engine_away() => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives a container the name of its service. Who holds the name without being part of this
    /// update was put there by somebody, and stays.
    async fn take_the_name(&self, number: usize, id: &str) -> Result<(), Trouble> {
        let name = &self.plan().member(number).container;
        match self.holder_of_the_name(number).await? {
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
    async fn see_it_well(&self, number: usize, id: &str) -> Result<(), Trouble> {
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
                self.warn(self.naming(number, detail));
                return Ok(());
            }
            tokio::time::sleep(RETURN_INTERVAL).await;
        }
    }

    /// Keeps what the failed containers wrote, then removes them with the anonymous volumes that
    /// are their own; re-attached ones belong to the old ones and stay.
    async fn remove_the_new_ones(&mut self) -> Result<(), Trouble> {
        let mut log = Vec::new();
        let mut left = Vec::new();
        for number in self.plan().numbers() {
            let Some(new) = self.look_at_new(number).await? else { continue };
            let id = inspect::id(&new).to_owned();
            if inspect::was_started(&new) {
                let lines = self.ports.engine().logs(&id, LOG_LINES_MAX).await.unwrap_or_default();
                log.extend(lines.into_iter().map(|line| self.quoting(number, line)));
            }
            left.push(id);
        }
        if !log.is_empty() {
            self.note_undo(Step::Create, Mark::UndoStarted, Note { log, ..Note::default() });
        }
        for id in left.iter().rev() {
            self.ports.engine().remove(id, true).await?;
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
