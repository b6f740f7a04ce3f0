//! What the Engine says of the containers of an update.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::recreate::differences::Inspected;
use crate::core::recreate::equivalence::check_alike;
use crate::core::update::{ActualState, ContainerState, MemberState, Step};
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// The numbers of the members that are still this update's, in their order: one that somebody
    /// made anew meanwhile is theirs.
    pub(super) fn members(&self) -> Vec<usize> {
        let released = &self.journal.progress.known.released;
        self.plan().numbers().filter(|number| !released.contains(number)).collect()
    }

    /// Both containers of every member.
    pub(super) async fn reality(&self) -> Result<ActualState, StepError> {
        let mut members = Vec::new();
        for number in self.members() {
            members.push(self.pair(number).await?);
        }
        Ok(ActualState { members })
    }

    /// Both containers of a member, by ID, and the new one also by its names: after a power cut the
    /// Engine may have made it without the journal knowing its ID.
    pub(super) async fn pair(&self, number: usize) -> Result<MemberState, StepError> {
        let old = self.look_at_old(number).await?;
        let new = self.look_at_new(number).await?;
        let first_start = inspect::started_at(self.journal.header.original_of(number));
        Ok(MemberState {
            old: old.as_ref().map(seen),
            new: new.as_ref().map(seen),
            old_was_started_again: old.as_ref().and_then(inspect::started_at) != first_start,
        })
    }

    /// The container of a member that is to be replaced.
    pub(super) async fn look_at_old(&self, number: usize) -> Result<Option<Value>, StepError> {
        self.look_at(&self.plan().member(number).old_container).await
    }

    /// The container that is to replace it.
    pub(super) async fn look_at_new(&self, number: usize) -> Result<Option<Value>, StepError> {
        if let Some(id) = self.journal.progress.known.new_container_of(number) {
            return self.look_at(id).await;
        }
        // A cut between the create and its entry: the name alone proves nothing.
        let found = self.look_at(&self.plan().member(number).new_name()).await?;
        match found {
            Some(found) if self.was_made_by_this_update(number, &found).await? => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    /// Whether a container with the name of the new one is the one that the step `create` made,
    /// although the journal does not know its ID: it is like the old one but for what an update
    /// changes. Of one that a power cut has damaged the Engine tells no more than its image.
    async fn was_made_by_this_update(
        &self,
        number: usize,
        found: &Value,
    ) -> Result<bool, EngineError> {
        if self.journal.progress.begun < Some(Step::Create) {
            return Ok(false);
        }
        let is_damaged = found.get("Config").is_none();
        if is_damaged {
            let image = match number {
                0 => self.journal.progress.known.new_image.as_deref().unwrap_or_default(),
                number => self.old_image(number),
            };
            return Ok(inspect::image_id(found) == image && !inspect::is_running(found));
        }
        let engine = self.ports.engine();
        let before = engine.inspect_image(self.old_image(number)).await?.unwrap_or_default();
        let after = engine.inspect_image(inspect::image_id(found)).await?.unwrap_or_default();
        let old = Inspected { container: self.journal.header.original_of(number), image: &before };
        Ok(check_alike(old, Inspected { container: found, image: &after }).is_ok())
    }

    /// Inspects a container. Engine 20.10 answers 500 to the inspect of a container whose files a
    /// power cut has damaged; its line in the list then has to do. Nor is one answer enough to
    /// believe that a container is gone, and to make it a second time: the list has to agree.
    pub(super) async fn look_at(&self, container: &str) -> Result<Option<Value>, StepError> {
        match self.ports.engine().inspect(container).await {
            Ok(None) | Err(EngineError::Refused { status: 500.., .. }) => {
                self.find_in_list(container).await
            }
            answer => Ok(answer?),
        }
    }

    async fn find_in_list(&self, container: &str) -> Result<Option<Value>, StepError> {
        let list = self.ports.engine().list().await?;
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

    /// How long the service was away, in milliseconds, by the times that the Engine keeps: for a
    /// process that did not see the stop itself. The clock of a machine that was started anew since
    /// may have jumped, so nothing is told of such a gap.
    pub(super) async fn gap_from_engine_times(&self, serving: &str) -> Option<u64> {
        let header = &self.journal.header;
        if header.boot_id != self.ports.host().boot_id() {
            return None;
        }
        let serving = self.look_at(serving).await.ok()??;
        let old = self.look_at_old(0).await.ok()?;
        let ended = old.as_ref().and_then(inspect::finished_at);
        let was_stopped = |at: &DateTime<Utc>| *at >= header.started_at;
        let stopped = ended.filter(was_stopped).or(self.journal.progress.switched_at)?;
        let gap = inspect::started_at(&serving)? - stopped;
        u64::try_from(gap.num_milliseconds()).ok()
    }

    /// The container that bears the name of the service now.
    pub(super) async fn name_holder(&self, number: usize) -> Result<Option<Value>, StepError> {
        self.look_at(&self.plan().member(number).container).await
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
