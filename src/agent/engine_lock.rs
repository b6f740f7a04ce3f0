//! One agent on an Engine: the lock that belongs to the Engine, taken before the first act.
//! `core::decide::engine_lock` has the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::RoundError;
use super::executor::Executor;
use crate::core::decide::engine_lock::{Claim, Holder, HolderStatus, LOCK_VOLUME, claim};
use crate::core::decide::reason::Reason;
use crate::core::decide::{Decision, No};
use crate::core::docker::inspect;
use crate::engine::{Engine, EngineError};
use crate::execute::{ENGINE_RETURN_INTERVAL, ENGINE_RETURN_TIMEOUT};
use crate::host::Host;
use crate::ports::Ports;

/// How often an agent that waits for another one looks whether that is gone.
pub(super) const OTHERS_INTERVAL: Duration = Duration::from_secs(10);

/// The pause after a lock was taken over, before it is looked at again: two agents may have found
/// the same one forsaken, and the later removes what the earlier has just made.
const SETTLE: Duration = Duration::from_millis(500);

/// How often a lock is tried to be taken over. It changes under this agent only if others do the
/// same at the same time.
const TRIES_MAX: u32 = 4;

/// How this agent stands to the Engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum EngineLock {
    /// It was not asked yet.
    #[default]
    Untaken,
    /// This agent holds it.
    Held,
    /// The Engine, or a proxy before it, has no volumes for this agent: it goes on without.
    Without,
    /// Another one holds it, told in words.
    Others(String),
}

impl<P: Ports> Executor<P> {
    /// Takes the lock, unless this agent has it already. Says who else holds it. The loop asks,
    /// which waits for nothing, so an Engine that is away is an error at once.
    ///
    /// # Errors
    /// The Engine is away.
    pub(super) async fn hold_engine(&mut self) -> Result<Option<String>, EngineError> {
        match self.engine_lock {
            EngineLock::Held | EngineLock::Without => Ok(None),
            EngineLock::Untaken | EngineLock::Others(_) => self.try_engine_lock().await,
        }
    }

    /// The same for acts, which wait for the Engine: looks once more whether it still holds the
    /// lock, which anybody may have pruned, and another agent then taken.
    ///
    /// # Errors
    /// The Engine is away.
    pub(super) async fn keep_engine_lock(&mut self) -> Result<Option<String>, EngineError> {
        match self.engine_lock {
            EngineLock::Without => Ok(None),
            _ => self.take_engine_lock().await,
        }
    }

    /// The same, as the "no" that stands in the way of an update.
    pub(super) async fn engine_is_held_before(&mut self, decision: &Decision) -> Option<No> {
        if !matches!(decision, Decision::Update(_) | Decision::HandOver(_)) {
            return None;
        }
        match self.keep_engine_lock().await {
            Ok(None) => None,
            Ok(Some(other)) => Some(No::new(Reason::AnotherAgent, other)),
            Err(error) => Some(No::new(Reason::EngineError, error.to_string())),
        }
    }

    /// The same, as an error of a wish that is about acts alone.
    pub(super) async fn hold_engine_or_name_holder(&mut self) -> Result<(), RoundError> {
        let other = self.keep_engine_lock().await?;
        other.map_or(Ok(()), |other| Err(RoundError::AnotherAgent(other)))
    }

    /// An Engine that is away is waited for where an update was left open, as its recovery does:
    /// until then a service may be down.
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
                // Somebody removed it just now.
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
                Claim::Own => {}
                Claim::Abandoned => {
                    let Holder { host, state_dir, .. } = &found;
                    self.context.warn(format!(
                        "the agent on {host} with the state directory {state_dir} is gone without \
                         having let go of this Engine; this one takes over"
                    ));
                    is_taken_over = true;
                }
            }
            if !self.remove_engine_lock(&found).await? {
                // A container mounts it, so that it cannot be made anew.
                if claim == Claim::Own {
                    self.engine_lock = EngineLock::Held;
                    return Ok(None);
                }
                return Ok(self.others(&found));
            }
        }
        Ok(self.others(&own))
    }

    /// The labels of the lock, which is made where there is none. What the Engine answers to a
    /// create is not taken for them: Docker 20.10, once it was started again, leaves the labels of
    /// a volume out that it already had.
    async fn request_engine_lock(
        &self,
        own: &Holder,
    ) -> Result<Option<BTreeMap<String, String>>, EngineError> {
        let engine = self.context.ports.engine();
        let found = engine.volume_labels(LOCK_VOLUME).await?;
        if found.is_some() {
            return Ok(found);
        }
        engine.create_volume(LOCK_VOLUME, &own.labels()).await?;
        engine.volume_labels(LOCK_VOLUME).await
    }

    fn others(&mut self, found: &Holder) -> Option<String> {
        let words = found.in_words();
        if self.engine_lock != EngineLock::Others(words.clone()) {
            self.context.warn(words.clone());
        }
        self.engine_lock = EngineLock::Others(words.clone());
        Some(words)
    }

    /// What an Engine or a proxy refuses for good is said once; anything else, such as a full disk,
    /// must not keep a service down either.
    fn go_on_without(&mut self, error: &EngineError) -> Option<String> {
        let is_for_good = match error {
            EngineError::NotFound { .. } => true,
            EngineError::Refused { status, .. } => matches!(status, 403 | 405 | 501),
            _ => false,
        };
        self.context.warn(format!(
            "this Engine gives no lock (volume {LOCK_VOLUME}), so that a second agent on it would \
             not be noticed in time: {error}"
        ));
        self.engine_lock = if is_for_good { EngineLock::Without } else { EngineLock::Untaken };
        None
    }

    /// Removes the lock where it is still the one that was found. `false`: it is in use.
    async fn remove_engine_lock(&self, found: &Holder) -> Result<bool, EngineError> {
        let engine = self.context.ports.engine();
        let now = engine.volume_labels(LOCK_VOLUME).await?;
        if now.is_none_or(|labels| Holder::of(&labels) != *found) {
            return Ok(true);
        }
        match engine.remove_volume(LOCK_VOLUME).await {
            Err(EngineError::Conflict { .. }) => Ok(false),
            removed => removed.map(|_| true),
        }
    }

    /// What can be seen of the holder.
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
        Ok(HolderStatus { process_lives: is_same_boot.then(lives).flatten(), container_runs })
    }

    /// Who this agent is. The ID of its state directory is made at the first question; where the
    /// disk refuses, it holds for this process alone.
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
            // It may be one of another Engine.
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

    /// Who else holds the Engine, for somebody who only looks: nothing is made or changed. What
    /// cannot be told is nobody.
    pub(super) async fn inspect_engine_lock(&self) -> Option<String> {
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

    /// Who else holds the Engine, as far as it is known.
    pub(super) fn other_agent(&self) -> Option<String> {
        match &self.engine_lock {
            EngineLock::Others(words) => Some(words.clone()),
            EngineLock::Untaken | EngineLock::Held | EngineLock::Without => None,
        }
    }

    /// Lets go of the Engine at a clean end. What cannot be removed now is this agent's own at its
    /// next start, and forsaken for all others.
    pub(super) async fn release_engine_lock(&mut self) {
        let held = std::mem::take(&mut self.engine_lock) == EngineLock::Held;
        if let Some(own) = self.own_holder.clone().filter(|_| held) {
            let _ = self.remove_engine_lock(&own).await;
        }
    }
}
