//! The present state of an update's containers on the Engine. Only reads.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::StepError;
use crate::core::docker::inspect;
use crate::core::recreate::ReplacedContainer;
use crate::core::recreate::differences::Inspected;
use crate::core::recreate::equivalence::check_alike;
use crate::core::update::plan::{Header, Plan};
use crate::core::update::rollback::{NameHolder, name_holder};
use crate::core::update::{ActualState, ContainerState, JournalProgress, MemberState};
use crate::engine::{Engine, EngineError, Listed};
use crate::journal::UpdateJournal;

/// Asks the Engine about the members of one update, with what its journal knows so far.
pub(super) struct Inspector<'a, E> {
    engine: &'a E,
    header: &'a Header,
    progress: &'a JournalProgress,
}

// Written by hand, because a derive would require `E: Clone`.
impl<E> Clone for Inspector<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Inspector<'_, E> {}

impl<'a, E: Engine> Inspector<'a, E> {
    pub(super) const fn of(engine: &'a E, journal: &'a UpdateJournal) -> Self {
        Self { engine, header: &journal.header, progress: &journal.progress }
    }

    pub(super) const fn header(&self) -> &'a Header {
        self.header
    }

    pub(super) const fn progress(&self) -> &'a JournalProgress {
        self.progress
    }

    pub(super) const fn plan(&self) -> &'a Plan {
        &self.header.plan
    }

    /// The numbers of the members that are still part of this update, in their order. A member that
    /// a person recreated in the meantime is not.
    pub(super) fn members(&self) -> Vec<usize> {
        let released = &self.progress.known.released;
        self.plan().numbers().filter(|number| !released.contains(number)).collect()
    }

    /// All containers of the Engine.
    pub(super) async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        self.engine.list().await
    }

    /// Both containers of each member.
    pub(super) async fn actual_state(&self) -> Result<ActualState, StepError> {
        let mut members = Vec::new();
        for number in self.members() {
            members.push(self.member_state(number).await?);
        }
        Ok(ActualState { members })
    }

    /// Both containers of a member by ID, and the new one also by its names: after a power cut the
    /// Engine may have created it without an entry in the journal.
    pub(super) async fn member_state(&self, number: usize) -> Result<MemberState, StepError> {
        let old = self.old_container(number).await?;
        let new = self.new_container(number).await?;
        let first_start = inspect::started_at(self.header.original_of(number));
        Ok(MemberState {
            old: old.as_ref().map(seen),
            new: new.as_ref().map(seen),
            old_was_started_again: old.as_ref().and_then(inspect::started_at) != first_start,
        })
    }

    /// The old container of a member.
    pub(super) async fn old_container(&self, number: usize) -> Result<Option<Value>, StepError> {
        self.container(&self.plan().member(number).old_container).await
    }

    /// The new container of a member.
    pub(super) async fn new_container(&self, number: usize) -> Result<Option<Value>, StepError> {
        if let Some(id) = self.progress.known.new_container_of(number) {
            let found = self.container(id).await?;
            // The copy of a job may have been replaced by one that the journal does not know.
            if found.is_some() || self.plan().job(number).is_none() {
                return Ok(found);
            }
        }
        // The power failed between the create and its entry. The name alone proves nothing.
        let found = self.container(&self.plan().member(number).new_name()).await?;
        match found {
            Some(found) if self.was_made_by_this_update(number, &found).await? => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    /// Whether the old container of a member runs.
    pub(super) async fn old_runs(&self, number: usize) -> Result<bool, StepError> {
        Ok(self.old_container(number).await?.as_ref().is_some_and(inspect::is_running))
    }

    /// Whether the new container of a member runs.
    pub(super) async fn new_runs(&self, number: usize) -> Result<bool, StepError> {
        Ok(self.new_container(number).await?.as_ref().is_some_and(inspect::is_running))
    }

    /// Whether a container with the name of the new one was created by the step `create`, although
    /// the journal does not know its ID. It must differ from the old container only in what an
    /// update changes. If a power cut has damaged it, the Engine shows only its image.
    async fn was_made_by_this_update(
        &self,
        number: usize,
        found: &Value,
    ) -> Result<bool, EngineError> {
        if !self.progress.may_have_created() {
            return Ok(false);
        }
        let is_damaged = found.get("Config").is_none();
        if is_damaged {
            let image = match self.plan().member(number).update() {
                Some(_) => self.progress.known.new_image_of(number).unwrap_or_default(),
                None => self.header.old_image(number),
            };
            return Ok(inspect::image_id(found) == image && !inspect::is_running(found));
        }
        let before =
            self.engine.inspect_image(self.header.old_image(number)).await?.unwrap_or_default();
        let after = self.engine.inspect_image(inspect::image_id(found)).await?.unwrap_or_default();
        let old = Inspected { container: self.header.original_of(number), image: &before };
        Ok(check_alike(old, Inspected { container: found, image: &after }).is_ok())
    }

    /// Inspects a container. Engine 20.10 answers 500 if a power cut has damaged the container's
    /// files; then its row in the list is used. A 404 alone does not prove that a container is
    /// gone, because it could then be created twice: the list must agree.
    pub(super) async fn container(&self, container: &str) -> Result<Option<Value>, StepError> {
        match self.engine.inspect(container).await {
            Ok(None) | Err(EngineError::Refused { status: 500.., .. }) => {
                self.find_in_list(container).await
            }
            // One that is being removed is as good as gone: the Engine never starts it again.
            answer => Ok(answer?.filter(|it| inspect::text(it, "/State/Status") != "removing")),
        }
    }

    async fn find_in_list(&self, container: &str) -> Result<Option<Value>, StepError> {
        let list = self.engine.list().await?;
        let line = list.into_iter().find(|line| line.id == container || line.name == container);
        Ok(line.map(|line| {
            let running = matches!(line.state.as_str(), "running" | "paused" | "restarting");
            serde_json::json!({
                "Id": line.id,
                "Name": format!("/{}", line.name),
                "Image": line.image_id,
                "State": { "Running": running, "Status": line.state },
            })
        }))
    }

    /// The service gap in milliseconds, by the times that the Engine records: for a process that
    /// did not stop the container itself. After a reboot the clock may have jumped, so the gap is
    /// unknown. It is also unknown if both containers ran for a while.
    pub(super) async fn gap_from_engine_times(&self, boot_id: &str, serving: &str) -> Option<u64> {
        let is_unclear = self.plan().strategy.starts_first();
        if self.header.boot_id != boot_id || is_unclear {
            return None;
        }
        let serving = self.container(serving).await.ok()??;
        let old = self.old_container(0).await.ok()?;
        let ended = old.as_ref().and_then(inspect::finished_at);
        let was_stopped = |at: &DateTime<Utc>| *at >= self.header.started_at;
        let stopped = ended.filter(was_stopped).or(self.progress.switched_at)?;
        let gap = inspect::started_at(&serving)? - stopped;
        u64::try_from(gap.num_milliseconds()).ok()
    }

    /// The container that has the name of a member now.
    pub(super) async fn name_holder(&self, number: usize) -> Result<Option<Value>, StepError> {
        self.container(&self.plan().member(number).container).await
    }

    /// The container that has the name of a member and is not part of this update: a person or
    /// Compose created it while the name was free. `restored` are the containers that the rollback
    /// has restored so far.
    pub(super) async fn external_container(
        &self,
        number: usize,
        restored: &[ReplacedContainer],
    ) -> Result<Option<Value>, StepError> {
        let Some(holder) = self.name_holder(number).await? else { return Ok(None) };
        let new = self.new_container(number).await?;
        let found = (&holder, new.as_ref().map(inspect::id));
        let is_external = match name_holder((self.header, self.progress), number, found, restored) {
            NameHolder::OfThisUpdate => false,
            NameHolder::LikeTheOld => self.old_container(number).await?.is_some(),
            NameHolder::External => true,
        };
        Ok(is_external.then_some(holder))
    }

    /// The numbers and the IDs of all new containers.
    pub(super) fn new_ids(&self) -> Result<Vec<(usize, String)>, StepError> {
        let numbered = |number| self.new_id(number).map(|id| (number, id));
        self.members().into_iter().map(numbered).collect()
    }

    /// The ID of the new container of a member.
    pub(super) fn new_id(&self, number: usize) -> Result<String, StepError> {
        let known = self.progress.known.new_container_of(number).map(str::to_owned);
        known.ok_or_else(|| {
            let detail = "the journal does not name the new container";
            StepError::surroundings(self.plan().naming(number, detail))
        })
    }
}

fn seen(container: &Value) -> ContainerState {
    ContainerState {
        id: inspect::id(container).to_owned(),
        name: inspect::name(container).to_owned(),
        running: inspect::is_running(container),
        started: inspect::was_started(container),
    }
}
