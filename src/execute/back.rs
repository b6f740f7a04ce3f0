//! The way back: undo ends in the recorded state, not in the reverse of our calls.
//!
//! Whatever is found is brought to what the journal's header recorded, so it does not matter how
//! often this is done, or what the Engine forgot in between.

use std::time::Duration;

use serde_json::Value;

use super::{TRIES_MAX, TRY_PAUSE, Trouble, Update};
use crate::core::docker::inspect;
use crate::core::recreate;
use crate::core::recreate::RestartPolicy;
use crate::core::update::history::Cause;
use crate::core::update::plan::Source;
use crate::core::update::{Mark, Note, Step};
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
enum Attempt {
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
            if let Some(stranger) = self.stranger().await? {
                return self.make_way_for(&stranger, attempt).await;
            }
            if self.nothing_to_go_back_to().await? {
                return self.keep_the_new_one().await;
            }
            self.note_undo(Step::Start, Mark::UndoStarted, Note::default());
            self.stand_the_new_one_down(attempt).await?;
            self.note_undo(Step::Switch, Mark::UndoStarted, Note::default());
            self.restore_the_old_one().await?;
        }
        self.remove_the_new_one().await?;
        self.restore_images(attempt).await?;
        self.flush().await
    }

    /// The way back writes what it does for people and for the history; it does not depend on it,
    /// so a full disk does not keep a service down.
    fn note_undo(&mut self, step: Step, mark: Mark, note: Note) {
        if let Err(error) = self.write(step, mark, note) {
            self.warn(error.to_string());
        }
    }

    /// The container that bears the name of the service without being part of this update: a
    /// person, or Compose, made it while the name was free.
    async fn stranger(&self) -> Result<Option<Value>, Trouble> {
        let Some(holder) = self.holder_of_the_name().await? else { return Ok(None) };
        let new = self.look_at_new().await?;
        let ours = [Some(self.plan().old_container.as_str()), new.as_ref().map(inspect::id)];
        let is_strange = !ours.contains(&Some(inspect::id(&holder)));
        // Where the old one is gone, one on its image is the old one made again.
        let is_remade = inspect::image_id(&holder) == self.plan().from.image_id
            && self.look_at_old().await?.is_none();
        Ok(Some(holder).filter(|_| is_strange && !is_remade))
    }

    /// What somebody else made stays. Where it runs it is the service now, and both of ours go; the
    /// parked one would be started beside it at the next boot. Where it does not run, the old one
    /// serves under its parked name until a person decides.
    async fn make_way_for(&mut self, stranger: &Value, attempt: Attempt) -> Result<(), Trouble> {
        let (engine, old) = (self.ports.engine(), self.look_at_old().await?);
        let name = &self.plan().container;
        let message = format!("another container named {name} was made during the update");
        if !inspect::is_running(stranger) {
            if let Some(old) = &old {
                engine.start(inspect::id(old)).await?;
            }
            return Err(EngineError::Conflict { message }.into());
        }
        self.warn(format!("{message}; it is the service now"));
        self.stand_the_new_one_down(attempt).await?;
        self.remove_the_new_one().await?;
        if let Some(old) = &old {
            engine.set_restart_policy(inspect::id(old), &RestartPolicy::no()).await?;
            engine.stop(inspect::id(old), self.plan().stop_timeout).await?;
            engine.remove(inspect::id(old), false).await?;
        }
        self.restore_images(attempt).await?;
        self.flush().await
    }

    /// Both the old container and its image are gone: somebody pruned everything that did not run.
    async fn nothing_to_go_back_to(&self) -> Result<bool, Trouble> {
        if self.look_at_old().await?.is_some() {
            return Ok(false);
        }
        let image = self.ports.engine().inspect_image(&self.plan().from.image_id).await?;
        Ok(image.is_none() && self.look_at_new().await?.is_some())
    }

    /// Nothing proven is left, so the unproven one is better than none.
    async fn keep_the_new_one(&mut self) -> Result<(), Trouble> {
        self.warn("the old container and its image are gone; the new one is kept, unproven");
        let new = self.new_container()?;
        let engine = self.ports.engine();
        self.take_the_name(&new).await?;
        engine.start(&new).await?;
        engine.set_restart_policy(&new, &self.plan().restart_policy).await?;
        Ok(())
    }

    /// Stops the new container and takes the name away from it. What it wrote stays readable.
    ///
    /// On a full disk the Engine can neither rename nor start anything. So where that failed once,
    /// the new one goes before the old one is started: what it takes is the room for that.
    async fn stand_the_new_one_down(&mut self, attempt: Attempt) -> Result<(), Trouble> {
        let Some(new) = self.look_at_new().await? else { return Ok(()) };
        let engine = self.ports.engine();
        let id = inspect::id(&new);
        if inspect::is_running(&new) {
            engine.stop(id, inspect::stop_timeout(&new)).await?;
        }
        if attempt != Attempt::First {
            return self.remove_the_new_one().await;
        }
        if inspect::name(&new) != self.plan().new_name() {
            engine.rename(id, &self.plan().new_name()).await?;
        }
        Ok(())
    }

    /// Brings the old container back: its name, its life, its restart policy.
    async fn restore_the_old_one(&mut self) -> Result<(), Trouble> {
        let id = match self.look_at_old().await? {
            Some(old) => inspect::id(&old).to_owned(),
            None => self.make_the_old_one_again().await?,
        };
        self.await_a_stop_under_way(&id).await?;
        self.take_the_name(&id).await?;
        let engine = self.ports.engine();
        engine.start(&id).await?;
        // The gap ends when it serves for the first time, not when the last image is gone.
        let is_first = self.journal.progress.undone.is_none();
        let gap_milliseconds = self.gap_milliseconds().filter(|_| is_first);
        let note = Note { gap_milliseconds, ..Note::default() };
        self.note_undo(Step::Switch, Mark::UndoDone, note);
        let policy = &self.plan().restart_policy;
        if !policy.is_no() {
            engine.set_restart_policy(&id, policy).await?;
        }
        self.see_it_well(&id).await
    }

    /// A client that is killed, or that loses its connection, does not cancel a stop: the old
    /// container would end after it was seen to run. Asking for the same stop once more waits for
    /// its end. What cannot be stopped goes on running, which is what is wanted here.
    async fn await_a_stop_under_way(&self, id: &str) -> Result<(), Trouble> {
        let reality = self.reality().await?;
        let may_be_asked = (self.stopped_at.is_some() || self.is_taken_up)
            && self.journal.progress.is_in_the_switch()
            && !reality.old_was_started_again;
        if !(may_be_asked && reality.old.is_some_and(|old| old.running)) {
            return Ok(());
        }
        match self.ports.engine().stop(id, self.plan().stop_timeout).await {
            Err(error) if error.is_the_engine_away() => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives a container the name of the service. Who holds the name without being part of this
    /// update was put there by somebody, and stays.
    async fn take_the_name(&self, id: &str) -> Result<(), Trouble> {
        let name = &self.plan().container;
        match self.holder_of_the_name().await? {
            Some(holder) if inspect::id(&holder) == id => Ok(()),
            Some(_) => Err(EngineError::Conflict {
                message: format!("another container named {name} was made during the update"),
            }
            .into()),
            None => Ok(self.ports.engine().rename(id, name).await?),
        }
    }

    /// The old container was removed while it was parked (`system prune` does that). Its inspect
    /// document and its image are kept, so it is made again, volumes included.
    async fn make_the_old_one_again(&mut self) -> Result<String, Trouble> {
        self.restore_the_tag().await?;
        let plan = self.plan();
        let engine = self.ports.engine();
        let holder = self.holder_of_the_name().await?;
        if let Some(found) = holder.filter(|it| inspect::image_id(it) == plan.from.image_id) {
            return Ok(inspect::id(&found).to_owned());
        }
        let mut body = plan.recreation.body.clone();
        recreate::set_restart_policy(&mut body, &RestartPolicy::no());
        if plan.reference.tag.is_none() {
            body["Image"] = Value::from(plan.from.image_id.clone());
        }
        let platform = plan.recreation.platform.as_ref();
        let id = engine.create(&plan.container, &body, platform).await?;
        for endpoint in &plan.recreation.connect {
            engine.connect(&endpoint.network, &id, &endpoint.config).await?;
        }
        self.warn("the old container had been removed; it was made again from its kept image");
        Ok(id)
    }

    /// Waits until the old container is as well as it was when the update began. There is nothing
    /// more to go back to, so what is not well then is said, and left.
    async fn see_it_well(&self, id: &str) -> Result<(), Trouble> {
        let was_healthy = inspect::health(&self.journal.header.original) == Some("healthy");
        let deadline = tokio::time::Instant::now() + RETURN_TIMEOUT;
        loop {
            let document = self.ports.engine().inspect(id).await?.unwrap_or_default();
            let runs = inspect::is_running(&document);
            let healthy = inspect::health(&document) == Some("healthy");
            if runs && (healthy || !was_healthy) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline || self.stop.is_cancelled() {
                self.warn("the old container runs again, but is not as well as it was");
                return Ok(());
            }
            tokio::time::sleep(RETURN_INTERVAL).await;
        }
    }

    /// Keeps what the failed container wrote, then removes it with the anonymous volumes that are
    /// its own; re-attached ones belong to the old one and stay.
    async fn remove_the_new_one(&mut self) -> Result<(), Trouble> {
        let Some(new) = self.look_at_new().await? else { return Ok(()) };
        let id = inspect::id(&new).to_owned();
        if inspect::was_started(&new) {
            let log = self.ports.engine().logs(&id, LOG_LINES_MAX).await.unwrap_or_default();
            self.note_undo(Step::Create, Mark::UndoStarted, Note { log, ..Note::default() });
        }
        self.ports.engine().remove(&id, true).await?;
        self.note_undo(Step::Create, Mark::UndoDone, Note::default());
        Ok(())
    }

    /// The local tag points at the old image again, the keep-tag of this try goes, and the failed
    /// image goes if nobody uses it. One that cannot be removed in the last try either is no reason
    /// to keep the update open: it is said, and left.
    async fn restore_images(&mut self, attempt: Attempt) -> Result<(), Trouble> {
        self.restore_the_tag().await?;
        let (repository, tag) = self.plan().keep_tag();
        self.ports.engine().remove_image(&format!("{repository}:{tag}")).await?;
        if let Some(image) = self.pulled_image().await? {
            match self.drop_image(&image).await {
                Err(Trouble::Engine(error))
                    if attempt != Attempt::Last || error.is_the_engine_away() =>
                {
                    return Err(error.into());
                }
                Err(trouble) => self.warn(format!("the failed image stays on disk: {trouble}")),
                Ok(()) => {}
            }
        }
        self.note_undo(Step::Pull, Mark::UndoDone, Note::default());
        Ok(())
    }

    /// The image of this update, also where the journal does not know it yet: a pull that a power
    /// cut interrupted leaves an image that is listed as present and has empty files.
    async fn pulled_image(&self) -> Result<Option<String>, Trouble> {
        if let Some(known) = self.journal.progress.known.new_image.clone() {
            return Ok(Some(known));
        }
        let plan = self.plan();
        let pinned = format!("{}@{}", plan.reference.familiar_name(), plan.to.index);
        if plan.source == Source::Kept {
            return Ok(None);
        }
        let image = self.ports.engine().inspect_image(&pinned).await?;
        let id = image.map(|image| inspect::id(&image).to_owned());
        Ok(id.filter(|id| *id != plan.from.image_id))
    }

    /// What the local tag is to point at again. An image that failed does not get it back, even
    /// where somebody had pulled it by hand: it would be what the next `compose up` starts.
    fn tag_before(&self, new: &str) -> Option<&str> {
        let progress = &self.journal.progress;
        let has_failed = progress.begun >= Some(Step::Start)
            && progress.failed.as_ref().is_some_and(Cause::is_a_failure);
        match self.journal.header.tag_before.as_deref() {
            Some(before) if before == new && has_failed => Some(&self.plan().from.image_id),
            before => before,
        }
    }

    /// Moves the local tag back, unless another container runs on the new image by now.
    async fn restore_the_tag(&self) -> Result<(), Trouble> {
        let plan = self.plan();
        let (Some(tag), Some(new)) = (&plan.reference.tag, self.pulled_image().await?) else {
            return Ok(());
        };
        let ours = self.journal.progress.known.new_container.as_deref();
        let containers = self.ports.engine().list().await?;
        let others =
            |line: &crate::engine::Listed| line.image_id == new && Some(line.id.as_str()) != ours;
        if containers.iter().any(others) {
            return Ok(());
        }
        let name = plan.reference.familiar_name();
        match self.tag_before(&new) {
            Some(before) => match self.ports.engine().tag(before, &name, tag).await {
                Err(error) if error.is_not_found() => {
                    self.warn(format!("{name}:{tag} cannot point at {before} again: it is gone"));
                    Ok(())
                }
                done => Ok(done?),
            },
            None => {
                self.ports.engine().remove_image(&format!("{name}:{tag}")).await?;
                Ok(())
            }
        }
    }
}
