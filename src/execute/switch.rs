//! The gap: the old containers stand down, the new ones take their names and are started.

use tokio::time::Instant;

use super::{StepError, Update};
use crate::core::docker::inspect;
use crate::core::recreate::{RestartPolicy, restart_policy};
use crate::core::time::duration::format_duration;
use crate::core::update::Note;
use crate::core::update::history::Cause;
use crate::core::update::plan::ImageSource;
use crate::core::update::start_error::{self, Blame};
use crate::engine::{Engine, EngineError};
use crate::host::Host;
use crate::ports::Ports;

impl<P: Ports> Update<'_, P> {
    /// Stops and parks the old containers, and gives their names to the new ones. What hangs on
    /// others stops before them.
    ///
    /// The old ones first get the right to be started at boot, and that is flushed: until the
    /// commit the Engine itself brings the proven containers back after a power cut. Names change
    /// after the stop, because a name leaves the Engine's DNS at once.
    pub(super) async fn switch(&mut self) -> Result<Note, StepError> {
        self.inspector().new_ids()?;
        self.arm_restart_policy().await?;
        self.name_shortened_stops();
        self.stopped_at = Some(Instant::now());
        let engine = self.ports.engine();
        for number in self.inspector().members().into_iter().rev() {
            let stopped = self.stop_old_container(number).await;
            stopped.map_err(|error| self.removed("old", error, number))?;
        }
        for (number, new) in self.inspector().new_ids()? {
            let member = self.plan().member(number);
            let parked = engine.rename(&member.old_container, &member.old_name()).await;
            parked.or_else(already_so)?;
            let named = engine.rename(&new, &member.container).await.or_else(already_so);
            named.map_err(|error| taken(error, &member.container))?;
        }
        Ok(Note::default())
    }

    /// Says which containers get less time to stop than they were promised.
    fn name_shortened_stops(&self) {
        for number in self.inspector().members() {
            let original = self.journal.header.original_of(number);
            if inspect::stop_timeout_is_shortened(original) {
                let granted = format_duration(inspect::stop_timeout(original));
                let detail = format!(
                    "its stop timeout has no end or is longer than a day; it is killed after {granted}"
                );
                self.warn(self.plan().naming(number, detail));
            }
        }
    }

    /// The right to be started that the old ones have until the commit. With live-restore the new
    /// one may outlive the Engine; `unless-stopped` remembers that the old one was stopped, so that
    /// never two of them run.
    fn second_net(&self) -> RestartPolicy {
        let live_restore = self.journal.header.live_restore;
        RestartPolicy::named(if live_restore { "unless-stopped" } else { "always" })
    }

    /// Whether the old ones that are there all have it. Nothing is stopped before they do.
    pub(super) async fn is_restart_policy_armed(&self) -> Result<bool, StepError> {
        let policy = self.second_net();
        for number in self.inspector().members() {
            if self.plan().member(number).restart_policy.is_no() {
                continue;
            }
            let old = self.inspector().old_container(number).await?;
            let now = old.and_then(|old| restart_policy(&old).ok());
            if now.is_some_and(|now| now != policy) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn arm_restart_policy(&self) -> Result<(), StepError> {
        let policy = self.second_net();
        let mut is_armed = false;
        for number in self.inspector().members() {
            let member = self.plan().member(number);
            if !member.restart_policy.is_no() {
                let old = &member.old_container;
                let armed = self.ports.engine().set_restart_policy(old, &policy).await;
                armed.map_err(|error| self.removed("old", error, number))?;
                is_armed = true;
            }
        }
        if is_armed { self.flush().await } else { Ok(()) }
    }

    /// Starts the new containers, each behind what it hangs on, with an ear on the Engine.
    pub(super) async fn start(&mut self) -> Result<Note, StepError> {
        let new = self.inspector().new_ids()?;
        self.watches.clear();
        for (_, id) in &new {
            let watch = self.listen(id).await?;
            self.watches.push(watch);
        }
        // An Engine that was restarted since the switch has started the old ones: never both. One
        // that is restarted behind this look ends the streams, which is heard without asking it.
        self.check_old_containers_stayed_down().await?;
        self.check_streams_are_open()?;
        for (place, (number, id)) in new.into_iter().enumerate() {
            let started = self.ports.engine().start(&id).await;
            if let Some(watch) = self.watches.get_mut(place) {
                watch.mark_started();
            }
            match started {
                Ok(()) => {}
                // What it hangs on has ended: that is what the verification will find first.
                Err(error) if self.is_orphaned(number, &error).await? => break,
                // A network that is gone is answered in the same way.
                Err(error)
                    if error.is_not_found()
                        && self.inspector().new_container(number).await?.is_none() =>
                {
                    return Err(self.removed("new", error, number));
                }
                Err(error) => return Err(self.start_failed(number, error).await),
            }
        }
        let gap_milliseconds = match self.gap_milliseconds() {
            Some(gap) => Some(gap),
            None => {
                self.inspector()
                    .gap_from_engine_times(
                        &self.ports.host().boot_id(),
                        &self.inspector().new_id(0)?,
                    )
                    .await
            }
        };
        Ok(Note { gap_milliseconds, ..Note::default() })
    }

    /// Whether a dependent could not be started because a container before it no longer runs.
    async fn is_orphaned(&self, number: usize, error: &EngineError) -> Result<bool, StepError> {
        if error.is_engine_unreachable() {
            return Ok(false);
        }
        for before in self.inspector().members().into_iter().filter(|before| *before < number) {
            if !self
                .inspector()
                .new_container(before)
                .await?
                .as_ref()
                .is_some_and(inspect::is_running)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A power cut leaves an image that was pulled shortly before with empty files, and pulling
    /// again does not mend it. So a start blames only an image that this update itself fetched; the
    /// way back removes any other, and the next round pulls it afresh. A dependent runs on the
    /// image that it had, so nothing is to be blamed on that.
    async fn start_failed(&self, number: usize, error: EngineError) -> StepError {
        if error.is_engine_unreachable() {
            return error.into();
        }
        let detail = self.plan().naming(number, format!("could not be started: {error}"));
        let is_image = number == 0 && self.blame(&error).await == Blame::Image;
        let is_fresh =
            self.journal.progress.known.fetched || self.plan().source == ImageSource::Local;
        StepError::Cause(match (is_image, is_fresh) {
            (true, true) => Cause::image(detail),
            (true, false) => {
                Cause::damaged_copy(format!("{detail}; {}", start_error::PULLED_AGAIN))
            }
            (false, _) => Cause::surroundings(detail),
        })
    }

    /// Whom the Engine's words blame. What it does not tell of the new container is no proof.
    async fn blame(&self, error: &EngineError) -> Blame {
        match self.inspector().new_container(0).await {
            Ok(Some(new)) => start_error::of_container(error.words(), &new),
            Ok(None) | Err(_) => start_error::of(error.words()),
        }
    }
}

fn taken(error: EngineError, name: &str) -> StepError {
    match error {
        EngineError::Conflict { .. } => StepError::Cause(Cause::person(format!(
            "somebody made another container named {name} during the update"
        ))),
        error => error.into(),
    }
}

/// Renaming a container to the name it has is a conflict with itself; whether it is with somebody
/// else shows at the next step.
fn already_so(error: EngineError) -> Result<(), EngineError> {
    match error {
        EngineError::Refused { status: 400, .. } => Ok(()),
        error => Err(error),
    }
}
