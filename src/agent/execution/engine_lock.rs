//! The Engine's lock: one agent works on an Engine. The agent takes the lock before it changes
//! anything. `core::decide::engine_lock` has the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::executor::Executor;
use crate::agent::RoundError;
use crate::core::decide::engine_lock::{Claim, Holder, HolderStatus, LOCK_VOLUME, claim};
use crate::core::docker::inspect;
use crate::engine::{Containers, EngineError, Volumes};
use crate::execute::{ENGINE_RETURN_INTERVAL, ENGINE_RETURN_TIMEOUT};
use crate::host::Host;
use crate::ports::Ports;

/// How often an agent that waits for another agent checks whether the other one is gone.
pub(in crate::agent) const OTHERS_INTERVAL: Duration = Duration::from_secs(10);

/// The pause before a lock that was taken over is read again. Two agents may have found the same
/// abandoned lock, and the second one may remove the lock that the first one has just created.
const SETTLE: Duration = Duration::from_millis(500);

/// Most attempts to take over a lock. It changes in between only if other agents do the same at the
/// same time.
const TRIES_MAX: u32 = 4;

/// The state of the Engine's lock, as this agent knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::agent) enum EngineLock {
    /// Not asked yet.
    #[default]
    Untaken,
    /// This agent holds it.
    Held,
    /// The Engine, or a proxy before it, offers this agent no volumes: the agent works without a
    /// lock.
    Without,
    /// Another agent holds it; the text names that agent.
    Others(String),
}

impl<P: Ports> Executor<P> {
    /// Takes the lock, unless this agent has it already. Returns the other agent that holds it. The
    /// loop calls this and must not wait, so an Engine that is away is an error at once.
    ///
    /// # Errors
    /// The Engine is away.
    pub(in crate::agent) async fn hold_engine(&mut self) -> Result<Option<String>, EngineError> {
        match self.engine_lock {
            EngineLock::Held | EngineLock::Without => Ok(None),
            EngineLock::Untaken | EngineLock::Others(_) => self.try_engine_lock().await,
        }
    }

    /// The same before an action. It waits for the Engine, and checks again that this agent still
    /// has the lock, because a person may have pruned the volume and another agent may have created
    /// it.
    ///
    /// # Errors
    /// The Engine is away.
    pub(in crate::agent) async fn keep_engine_lock(
        &mut self,
    ) -> Result<Option<String>, EngineError> {
        match self.engine_lock {
            EngineLock::Without => Ok(None),
            _ => self.take_engine_lock().await,
        }
    }

    /// The same; another agent that holds the lock is an error.
    pub(in crate::agent) async fn hold_engine_or_name_holder(&mut self) -> Result<(), RoundError> {
        let other = self.keep_engine_lock().await?;
        other.map_or(Ok(()), |other| Err(RoundError::AnotherAgent(other)))
    }

    /// If an update is open, this waits for an Engine that is away, as the recovery does: a service
    /// may be down until then.
    async fn take_engine_lock(&mut self) -> Result<Option<String>, EngineError> {
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            let error = match self.try_engine_lock().await {
                Err(error) if error.is_engine_unreachable() => error,
                answer => return answer,
            };
            let is_open =
                self.context.ports.state().open_journals().is_ok_and(|open| !open.is_empty());
            let is_over =
                begun.elapsed() >= ENGINE_RETURN_TIMEOUT || self.context.stop.is_cancelled();
            if !is_open || is_over {
                return Err(error);
            }
            if !std::mem::replace(&mut is_told, true) {
                self.context.warn(format!("an open update waits for the Engine: {error}"));
            }
            tokio::time::sleep(ENGINE_RETURN_INTERVAL).await;
        }
    }

    async fn try_engine_lock(&mut self) -> Result<Option<String>, EngineError> {
        let own = self.own_holder().await?;
        let mut is_taken_over = false;
        for _ in 0..TRIES_MAX {
            let found = match self.request_engine_lock(&own).await {
                Ok(Some(labels)) => Holder::of(&labels),
                // The lock was removed just now.
                Ok(None) => continue,
                Err(error) if error.is_engine_unreachable() => return Err(error),
                Err(error) => return Ok(self.go_on_without(&error)),
            };
            if found == own {
                if is_taken_over {
                    is_taken_over = false;
                    tokio::time::sleep(SETTLE).await;
                    continue;
                }
                self.engine_lock = EngineLock::Held;
                return Ok(None);
            }
            let claim = claim(&found, &own, self.seen(&found, &own).await?);
            match claim {
                Claim::Foreign => return Ok(self.others(&found)),
                Claim::Own | Claim::Remnant => {}
                Claim::Abandoned => {
                    let Holder { host, state_dir, .. } = &found;
                    self.context.warn(format!(
                        "the agent on {host} with the state directory {state_dir} ended without \
                         releasing its lock on this Engine; this agent takes over"
                    ));
                    is_taken_over = true;
                }
            }
            if !self.remove_engine_lock(&found).await? {
                // A container mounts the volume, so it cannot be created again.
                if claim == Claim::Own {
                    self.engine_lock = EngineLock::Held;
                    return Ok(None);
                }
                return Ok(self.others(&found));
            }
        }
        Ok(self.others(&own))
    }

    /// The labels of the lock; creates the lock if there is none. The labels are read with a
    /// separate call, because Docker 20.10 after a restart answers a create without the labels of
    /// an existing volume.
    async fn request_engine_lock(
        &self,
        own: &Holder,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        let engine = self.context.ports.engine();
        let found = engine.volume_labels(LOCK_VOLUME).await?;
        if found.is_some() {
            return Ok(found);
        }
        self.note_lock_change();
        engine.create_volume(LOCK_VOLUME, &own.labels()).await?;
        engine.volume_labels(LOCK_VOLUME).await
    }

    /// Notes that the lock is created or removed now. A disk that refuses the note must not keep a
    /// service down.
    fn note_lock_change(&self) {
        let _ = self.context.ports.state().note_lock_change();
    }

    fn others(&mut self, found: &Holder) -> Option<String> {
        let words = found.in_words();
        if self.engine_lock != EngineLock::Others(words.clone()) {
            self.context.warn(words.clone());
        }
        self.engine_lock = EngineLock::Others(words.clone());
        Some(words)
    }

    /// A lock that the Engine or a proxy refuses permanently is reported once. Any other error,
    /// such as a full disk, must not keep a service down either.
    fn go_on_without(&mut self, error: &EngineError) -> Option<String> {
        let is_for_good = match error {
            EngineError::NotFound { .. } => true,
            EngineError::Refused { status, .. } => matches!(status, 403 | 405 | 501),
            _ => false,
        };
        self.context.warn(format!(
            "this Engine offers no lock (volume {LOCK_VOLUME}), so a second agent on it would \
             not be noticed in time: {error}"
        ));
        self.engine_lock = if is_for_good { EngineLock::Without } else { EngineLock::Untaken };
        None
    }

    /// Removes the lock if it is still the one that was found. Returns `false` if the volume is in
    /// use.
    async fn remove_engine_lock(&self, found: &Holder) -> Result<bool, EngineError> {
        let engine = self.context.ports.engine();
        let now = engine.volume_labels(LOCK_VOLUME).await?;
        if now.is_none_or(|labels| Holder::of(&labels) != *found) {
            return Ok(true);
        }
        self.note_lock_change();
        match engine.remove_volume(LOCK_VOLUME).await {
            Err(EngineError::Conflict { .. }) => Ok(false),
            removed => removed.map(|_| true),
        }
    }

    /// Whether the process and the container of the holder still run, as far as this agent can see.
    async fn seen(&self, found: &Holder, own: &Holder) -> Result<HolderStatus, EngineError> {
        let is_same_boot = found.is_same_boot(own);
        let lives = || self.context.ports.host().lives(&found.process);
        let container_runs = match found.container.is_empty() {
            true => None,
            false => {
                let document = self.context.ports.engine().inspect(&found.container).await?;
                Some(document.as_ref().is_some_and(inspect::is_running))
            }
        };
        let process_lives = is_same_boot.then(lives).flatten();
        let has_changed_lock = self.context.ports.state().has_lock_change();
        Ok(HolderStatus { process_lives, container_runs, has_changed_lock })
    }

    /// The identity of this agent. The ID of its state directory is created at the first call. If
    /// the disk refuses it, the ID is valid only for this process.
    async fn own_holder(&mut self) -> Result<Holder, EngineError> {
        if let Some(own) = &self.own_holder {
            return Ok(own.clone());
        }
        let owner = self.context.ports.state().agent_id().unwrap_or_default();
        let owner = owner.unwrap_or_else(|| {
            let fresh = self.context.ports.host().random_id();
            let _ = self.context.ports.state().keep_agent_id(&fresh);
            fresh
        });
        let own = Holder { owner, ..self.holder_without_id().await? };
        self.own_holder = Some(own.clone());
        Ok(own)
    }

    async fn holder_without_id(&self) -> Result<Holder, EngineError> {
        let (host, root) = (self.context.ports.host(), self.context.ports.state().root());
        let container = match host.own_container() {
            None => None,
            // The container may belong to another Engine.
            Some(id) => self.context.ports.engine().inspect(&id).await?,
        };
        Ok(Holder {
            owner: String::new(),
            state_dir: root.display().to_string(),
            directory: host.directory_id(root),
            host: host.host_name(),
            machine: host.machine_id(),
            boot_id: host.boot_id(),
            process: host.process(),
            container: container.as_ref().map(inspect::id).unwrap_or_default().to_owned(),
            by_socket: self.context.settings.engine_endpoint.is_none(),
        })
    }

    /// The other agent that holds the Engine's lock, for a dry run: nothing is created or changed.
    /// An error counts as no other agent.
    pub(in crate::agent) async fn inspect_engine_lock(&self) -> Option<String> {
        match &self.engine_lock {
            EngineLock::Held | EngineLock::Without => return None,
            EngineLock::Others(words) if self.context.is_resident => return Some(words.clone()),
            EngineLock::Others(_) | EngineLock::Untaken => {}
        }
        let labels: BTreeMap<_, _> =
            self.context.ports.engine().volume_labels(LOCK_VOLUME).await.ok().flatten()?;
        let found = Holder::of(&labels);
        let owner = self.context.ports.state().agent_id().ok().flatten().unwrap_or_default();
        let own = Holder { owner, ..self.holder_without_id().await.ok()? };
        let seen = self.seen(&found, &own).await.ok()?;
        (claim(&found, &own, seen) == Claim::Foreign).then(|| found.in_words())
    }

    /// The other agent that holds the Engine's lock, if one is known.
    pub(in crate::agent) fn other_agent(&self) -> Option<String> {
        match &self.engine_lock {
            EngineLock::Others(words) => Some(words.clone()),
            EngineLock::Untaken | EngineLock::Held | EngineLock::Without => None,
        }
    }

    /// Releases the lock at a clean end. A lock that cannot be removed now is still this agent's
    /// own at its next start, and abandoned for all other agents.
    pub(in crate::agent) async fn release_engine_lock(&mut self) {
        let held = std::mem::take(&mut self.engine_lock) == EngineLock::Held;
        if let Some(own) = self.own_holder.clone().filter(|_| held) {
            let _ = self.remove_engine_lock(&own).await;
        }
    }
}
