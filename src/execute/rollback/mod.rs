//! The rollback restores the recorded state; it does not reverse our calls.
//!
//! It compares what it finds with the state in the journal's header, so it can be repeated any
//! number of times, also after an Engine that lost some of our calls.

mod containers;
mod images;
mod jobs;
mod make_room;

use std::time::Duration;

use serde_json::Value;

use super::compose_race::{check_restored_stay, is_lost_to_compose, is_removed_by_a_person};
use super::engine_return::{TRIES_MAX, await_next_attempt};
use super::inspector::Inspector;
use super::service_gap::ServiceGap;
use super::steps::Begun;
use super::{StepError, UpdateContext};
use crate::core::docker::inspect;
use crate::core::recreate::{ReplacedContainer, RestartPolicy, restart_policy};
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Containers, Engine, Images};
use crate::journal::UpdateJournal;
use crate::ports::Ports;
use containers::{give_up, take_name};

/// How many of the last lines of a failed container are kept.
pub(super) const LOG_LINES_MAX: usize = 40;

/// The reason if a person removed the whole service during its update.
const LEFT_AWAY: &str = "all of its containers were removed during the update, and stay removed";

/// How long a failed new container runs on beside the old one that serves again. A client that has
/// asked the DNS before may have the new one's address alone, or may wait for the old one's first:
/// the Engine names it some milliseconds before its network is up, and the kernel repeats its ARP
/// request after one second.
const HAND_BACK_TIME: Duration = Duration::from_secs(2);

/// The number of the try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Another,
    Last,
}

/// The rollback of one update.
pub(super) struct Rollback<'a, P: Ports> {
    pub(super) context: UpdateContext<'a, P>,
    pub(super) journal: &'a mut UpdateJournal,
    pub(super) gap: ServiceGap,
    pub(super) begun: Begun,
}

impl<P: Ports> Rollback<'_, P> {
    /// Rolls back, with at most three tries. Waits for an Engine that is away.
    pub(super) async fn run(&mut self) -> Result<(), StepError> {
        let mut attempt = Attempt::First;
        for _ in 1..TRIES_MAX {
            match self.undo(attempt).await {
                Err(StepError::Engine(error)) => {
                    let plan = &self.journal.header.plan;
                    await_next_attempt(self.context, plan, "the rollback", &error).await?;
                }
                done => return done,
            }
            attempt = Attempt::Another;
        }
        self.undo(Attempt::Last).await
    }

    async fn undo(&mut self, attempt: Attempt) -> Result<(), StepError> {
        let mut restored = Vec::new();
        if self.journal.progress.old_may_be_down() || self.is_started_by_others().await? {
            if self.has_nothing_to_go_back_to().await? {
                return self.keep_new_containers().await;
            }
            if is_removed_by_a_person(self.inspector(), self.context.stop).await? {
                self.warn(LEFT_AWAY);
            } else if self.starts_first() && attempt == Attempt::First {
                restored = self.hand_back().await?;
            } else {
                self.note(Step::Start, Mark::UndoStarted, Note::default());
                self.stop_new_containers(attempt).await?;
                self.note(Step::Switch, Mark::UndoStarted, Note::default());
                restored = self.restore_old_containers().await?;
            }
        } else if self.journal.progress.has_launched {
            if is_lost_to_compose(self.inspector(), self.context.stop).await? {
                restored = self.hand_back().await?;
            }
            self.note(Step::Launch, Mark::UndoStarted, Note::default());
            self.stop_new_containers(attempt).await?;
        }
        self.remove_new_containers().await?;
        jobs::give_names_back(self.engine(), self.inspector()).await?;
        images::restore(self.context, self.inspector(), attempt).await?;
        self.note(Step::Pull, Mark::UndoDone, Note::default());
        super::images::flush(self.context.ports).await?;
        check_restored_stay(self.inspector(), self.context.stop, &restored).await
    }

    fn starts_first(&self) -> bool {
        self.journal.header.plan.strategy.starts_first()
    }

    /// Brings the old containers back before the new ones stop: two of them can run at the same
    /// time. So there is no gap if the new ones still serve.
    async fn hand_back(&mut self) -> Result<Vec<ReplacedContainer>, StepError> {
        self.note(Step::Switch, Mark::UndoStarted, Note::default());
        self.take_names_back().await?;
        let restored = self.restore_old_containers().await?;
        self.note(Step::Launch, Mark::UndoStarted, Note::default());
        if self.new_ones_run().await? {
            tokio::time::sleep(HAND_BACK_TIME).await;
        }
        self.stop_new_containers(Attempt::First).await?;
        Ok(restored)
    }

    async fn new_ones_run(&self) -> Result<bool, StepError> {
        let inspector = self.inspector();
        for number in inspector.plan().numbers() {
            if inspector.new_runs(number).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the names and the restart policies of the new containers.
    async fn take_names_back(&self) -> Result<(), StepError> {
        let (engine, inspector) = (self.engine(), self.inspector());
        let mut is_disarmed = false;
        for number in inspector.plan().numbers() {
            let Some(new) = inspector.new_container(number).await? else { continue };
            let name = inspector.plan().member(number).new_name();
            is_disarmed |= disarm(engine, &new).await?;
            if inspect::name(&new) != name {
                engine.rename(inspect::id(&new), &name).await?;
            }
        }
        self.flush_if(is_disarmed).await;
        Ok(())
    }

    async fn flush_if(&self, is_disarmed: bool) {
        if is_disarmed && let Err(error) = super::images::flush(self.context.ports).await {
            self.warn(error.to_string());
        }
    }

    fn engine(&self) -> &P::Engine {
        self.context.ports.engine()
    }

    fn inspector(&self) -> Inspector<'_, P::Engine> {
        Inspector::of(self.context.ports.engine(), self.journal)
    }

    fn warn(&self, detail: impl Into<String>) {
        self.context.warn(&self.journal.header.plan, detail);
    }

    /// The rollback writes entries for people and for the history, and does not depend on them, so
    /// a full disk does not keep a service down.
    fn note(&mut self, step: Step, mark: Mark, note: Note) {
        if let Err(error) = self.context.write(self.journal, step, mark, note) {
            self.warn(error.to_string());
        }
    }

    /// Whether a new container runs although this update has not started it: `docker compose up`
    /// takes it for one of its own, removes the old one and starts it.
    async fn is_started_by_others(&self) -> Result<bool, StepError> {
        Ok(!self.journal.progress.has_launched && self.new_ones_run().await?)
    }

    /// Both the old container and its image are gone, for a member that gets a new image: a prune
    /// removed everything that did not run.
    async fn has_nothing_to_go_back_to(&self) -> Result<bool, StepError> {
        let inspector = self.inspector();
        for (number, _, update) in inspector.plan().changed() {
            if inspector.old_container(number).await?.is_some()
                || inspector.external_container(number, &[]).await?.is_some()
            {
                continue;
            }
            let image = self.engine().inspect_image(&update.from.image_id).await?;
            if image.is_none() && inspector.new_container(number).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// No proven container is left, so the unproven ones are kept.
    async fn keep_new_containers(&self) -> Result<(), StepError> {
        self.warn("the old container and its image are gone; the new one is kept, unproven");
        let (engine, inspector) = (self.engine(), self.inspector());
        let plan = inspector.plan();
        for number in plan.numbers().rev() {
            give_up(engine, inspector, number).await?;
        }
        for (number, new) in inspector.new_ids()? {
            take_name(engine, inspector, number, &new).await?;
            engine.start(&new).await?;
            engine.set_restart_policy(&new, &plan.member(number).restart_policy).await?;
        }
        Ok(())
    }

    /// Stops the new containers, dependents first, and removes their names. Their logs stay
    /// readable.
    ///
    /// A commit that could not be recorded has given the new containers their restart policies.
    /// They get `no` again, and this is flushed, before the old ones get theirs back: after a power
    /// cut the Engine must never start both.
    ///
    /// On a full disk the Engine can neither rename nor start anything. So after one failure the
    /// new containers are removed before the old ones are started, which makes room.
    async fn stop_new_containers(&mut self, attempt: Attempt) -> Result<(), StepError> {
        let (engine, inspector) = (self.engine(), self.inspector());
        let mut is_disarmed = false;
        for number in inspector.plan().numbers().rev() {
            let Some(new) = inspector.new_container(number).await? else { continue };
            let (id, name) = (inspect::id(&new), inspector.plan().member(number).new_name());
            if inspect::is_running(&new) {
                engine.stop(id, inspect::stop_timeout(&new)).await?;
            }
            is_disarmed |= disarm(engine, &new).await?;
            if attempt == Attempt::First && inspect::name(&new) != name {
                engine.rename(id, &name).await?;
            }
        }
        self.flush_if(is_disarmed).await;
        match attempt {
            Attempt::First => Ok(()),
            Attempt::Another | Attempt::Last => self.remove_new_containers().await,
        }
    }

    /// Keeps the last log lines of the failed containers, then removes them with their own
    /// anonymous volumes. Volumes that were attached again belong to the old containers and stay.
    async fn remove_new_containers(&mut self) -> Result<(), StepError> {
        let mut log = Vec::new();
        let mut left = Vec::new();
        let (engine, inspector) = (self.engine(), self.inspector());
        for number in inspector.plan().all_numbers() {
            let Some(new) = inspector.new_container(number).await? else { continue };
            let id = inspect::id(&new).to_owned();
            if inspector.plan().job(number).is_some() {
                jobs::stop_copy(engine, &new).await?;
                if jobs::takes_place(engine, inspector, number, &new).await? {
                    continue;
                }
            }
            if inspect::was_started(&new) {
                let lines = engine.logs(&id, LOG_LINES_MAX).await.unwrap_or_default();
                let quoted = |line| inspector.plan().quoting(number, line);
                log.extend(lines.into_iter().map(quoted));
            }
            // The anonymous volumes are removed with a container that the journal knows, or that
            // was never started.
            let is_known = inspector.progress().known.new_container_of(number) == Some(&*id);
            left.push((id, is_known || !inspect::was_started(&new)));
        }
        if !log.is_empty() {
            self.note(Step::Create, Mark::UndoStarted, Note { log, ..Note::default() });
        }
        for (id, volumes) in left.iter().rev() {
            self.engine().remove(id, *volumes).await?;
        }
        if !left.is_empty() {
            self.note(Step::Create, Mark::UndoDone, Note::default());
        }
        Ok(())
    }
}

/// Sets the restart policy of a new container to `no`. Returns whether it had another one.
async fn disarm(engine: &impl Engine, new: &Value) -> Result<bool, StepError> {
    let is_armed = restart_policy(new).is_ok_and(|policy| !policy.is_no());
    if is_armed {
        engine.set_restart_policy(inspect::id(new), &RestartPolicy::no()).await?;
    }
    Ok(is_armed)
}
