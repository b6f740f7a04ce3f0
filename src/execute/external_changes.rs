//! What people, or Compose, make of a service while its update is under way: it stays, and it is
//! the service from then on.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::compose_race::START_LIMIT;
use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::recreate::dependents::{Dependent, DependsOn, direct_dependents};
use crate::core::recreate::{
    self, CannotRecreate, Original, ReplacedContainer, RestartPolicy, depends_on_moved, relink,
};
use crate::core::update::history::Cause;
use crate::core::update::{Mark, Note, Step};
use crate::engine::{Engine, EngineError, Listed};
use crate::ports::Ports;

/// How long somebody who ended a new container may take to put something in its place. Compose
/// stops, removes and renames, each in fractions of a second on a Pi.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(3);

impl<P: Ports> Update<'_, P> {
    /// What began to hang on a member since the update was planned would break with the switch, and
    /// is not part of the plan. The next round finds it.
    pub(super) async fn check_no_new_dependents(&self) -> Result<(), StepError> {
        let engine = self.ports.engine();
        let is_ours = |listed: &Listed| {
            self.plan().numbers().map(|number| self.plan().member(number)).any(|member| {
                let names = [member.new_name(), member.old_name()];
                member.old_container == listed.id || names.contains(&listed.name)
            })
        };
        let mut others = Vec::new();
        for listed in engine.list().await?.iter().filter(|listed| !is_ours(listed)) {
            others.extend(engine.inspect(&listed.id).await?);
        }
        for number in self.plan().numbers() {
            let member = self.journal.header.original_of(number);
            let joined = direct_dependents(member, &others, &DependsOn::default())
                .map_err(|error| cannot(&error))?;
            if let Some(Dependent { name, how, on, .. }) = joined.first() {
                let detail = format!("{name} {} since the update was planned", how.of(on));
                return Err(StepError::Cause(Cause::person(detail)));
            }
        }
        Ok(())
    }

    /// Waits a moment for what somebody makes who ended a new container, and tells whether there is
    /// something: `docker compose up` ends it only to put its own there. The main one counts once
    /// it runs, because there is nothing else that serves.
    pub(super) async fn await_external_changes(&self, number: usize) -> Result<bool, StepError> {
        let begun = Instant::now();
        loop {
            let external_container = self.inspector().external_container(number, &[]).await?;
            let is_there = |made: &Value| number != 0 || inspect::is_running(made);
            if external_container.as_ref().is_some_and(is_there) {
                return Ok(true);
            }
            let limit = if external_container.is_some() { START_LIMIT } else { TAKE_OVER_LIMIT };
            if begun.elapsed() >= limit {
                return Ok(false);
            }
            self.pause().await?;
        }
    }

    /// Goes on without a dependent that is somebody else's now.
    pub(super) fn release(&mut self, number: usize) -> Result<(), StepError> {
        let name = &self.plan().member(number).container;
        self.warn(format!("somebody made {name} anew; the update goes on without it"));
        let note = Note { released: vec![number], ..Note::default() };
        Ok(self.write(Step::Verify, Mark::Started, note)?)
    }

    /// What somebody else made stays, and its ID is given. Where it runs it is the service now, and
    /// the old one goes; a parked one would be started beside it at the next boot. Where it does
    /// not run, the old one serves under its parked name until a person decides.
    pub(super) async fn make_room_for(
        &self,
        number: usize,
        external_container: &Value,
        restored: &[ReplacedContainer],
    ) -> Result<String, StepError> {
        let (engine, old) = (self.ports.engine(), self.inspector().old_container(number).await?);
        let name = &self.plan().member(number).container;
        let message = format!("another container named {name} was made during the update");
        let moved = self.all_moved(restored);
        if depends_on_moved(external_container, &moved).unwrap_or(false) {
            self.warn(format!("{message}, and hung on a new one that goes; it is made again"));
            let id = self.make_theirs_again(name, external_container, &moved).await?;
            self.give_up(number).await?;
            return Ok(id);
        }
        if !inspect::is_running(external_container) {
            if let Some(old) = &old {
                engine.start(inspect::id(old)).await?;
            }
            return Err(EngineError::Conflict { message }.into());
        }
        self.warn(format!("{message}; it is the service now"));
        self.give_up(number).await?;
        Ok(inspect::id(external_container).to_owned())
    }

    /// What stands for the containers of this update now: for the old ones, and for the new ones,
    /// which go.
    fn all_moved(&self, restored: &[ReplacedContainer]) -> Vec<ReplacedContainer> {
        let known = &self.journal.progress.known;
        let new = restored.iter().enumerate().filter_map(|(number, moved)| {
            let from = known.new_container_of(number)?.to_owned();
            Some(ReplacedContainer { from, ..moved.clone() })
        });
        new.chain(restored.iter().cloned()).collect()
    }

    /// What they made hangs on a container that goes, so nobody could start it any more: it is made
    /// again as it is, hanging on what serves. A cut in the middle leaves the name free, and then
    /// the old one is made again there.
    async fn make_theirs_again(
        &self,
        name: &str,
        theirs: &Value,
        moved: &[ReplacedContainer],
    ) -> Result<String, StepError> {
        let (engine, id) = (self.ports.engine(), inspect::id(theirs));
        let image_id = inspect::image_id(theirs);
        let image = engine.inspect_image(image_id).await?.unwrap_or_default();
        let api = engine.info().await?.api;
        let original = Original { container: theirs, image: &image, api };
        let policy = recreate::restart_policy(theirs).map_err(|error| cannot(&error))?;
        let recreation = recreate::recreate(&original).map_err(|error| cannot(&error))?;
        if inspect::is_running(theirs) {
            engine.set_restart_policy(id, &RestartPolicy::no()).await?;
            engine.stop(id, inspect::stop_timeout(theirs)).await?;
        }
        engine.remove(id, false).await?;
        let made = self.make_on(name, relink(&recreation, moved), image_id).await?;
        engine.start(&made).await?;
        if !policy.is_no() {
            engine.set_restart_policy(&made, &policy).await?;
        }
        Ok(made)
    }

    /// Removes the old container of a member; its volumes stay.
    pub(super) async fn give_up(&self, number: usize) -> Result<(), StepError> {
        let Some(old) = self.inspector().old_container(number).await? else { return Ok(()) };
        let (engine, id) = (self.ports.engine(), inspect::id(&old));
        engine.set_restart_policy(id, &RestartPolicy::no()).await?;
        self.stop_old_container(number).await?;
        engine.remove(id, false).await?;
        Ok(())
    }
}

fn cannot(error: &CannotRecreate) -> StepError {
    StepError::surroundings(error.to_string())
}
