//! `docker compose up` in the middle of an update: it makes every service of a project anew beside
//! the present one, from a list that it took at its beginning, and does not know of us.

use std::time::Duration;

use tokio::time::Instant;

use super::{StepError, Update};
use crate::core::docker::{inspect, names};
use crate::core::policy::own_labels::Labels;
use crate::core::recreate::{ReplacedContainer, is_same_project, is_same_service};
use crate::core::update::history::Fault;
use crate::core::update::is_taken_away;
use crate::engine::{Engine, EngineError, Listed};
use crate::ports::Ports;

/// How long what it made may take to be started: it makes everything anew first, which stops other
/// services as well, and then starts it all.
pub(super) const START_LIMIT: Duration = Duration::from_secs(15);

/// How old its list may be when it removes a container, by its ID, that was parked when it looked.
const LIST_AGE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl<P: Ports> Update<'_, P> {
    /// Lets it come to its end before anything is touched. What it left half made some time ago
    /// costs each update this wait, and no more.
    pub(super) async fn let_compose_finish(&self) -> Result<(), StepError> {
        self.await_compose(is_same_project).await.map(|_| ())
    }

    /// Whether a person took away all that there was, and puts nothing in its place. What Compose
    /// makes is waited for; where it gave up in the middle, the service is not left to that.
    pub(super) async fn is_taken_away(&self) -> Result<bool, StepError> {
        let cause = self.journal.progress.failed.as_ref();
        if cause.is_none_or(|cause| cause.fault != Fault::Person) {
            return Ok(false);
        }
        let has_ended = self.await_compose(is_same_service).await?;
        let is_taken_away = is_taken_away(&self.journal.progress, &self.reality().await?);
        Ok(is_taken_away && has_ended && self.external_container(0, &[]).await?.is_none())
    }

    /// Compose may have seen a container parked that serves again by now, and remove it all the
    /// same: then it has to be made again. Others, who saw what they removed, do it at once.
    pub(super) async fn check_restored_stay(
        &self,
        restored: &[ReplacedContainer],
    ) -> Result<(), StepError> {
        let labels = inspect::labels(&self.journal.header.original);
        let cause = self.journal.progress.failed.as_ref();
        let may_be_meant = is_same_project(&labels, &labels)
            && cause.is_some_and(|cause| cause.fault != Fault::Person);
        let limit = if may_be_meant { LIST_AGE_MAX } else { Duration::ZERO };
        let begun = Instant::now();
        loop {
            for (number, ReplacedContainer { name, .. }) in restored.iter().enumerate() {
                if self.name_holder(number).await?.is_none() {
                    let message = format!("{name} was removed while it was brought back");
                    return Err(EngineError::Conflict { message }.into());
                }
            }
            if restored.is_empty() || begun.elapsed() >= limit {
                return Ok(());
            }
            self.pause().await?;
        }
    }

    /// Whether it came to its end within the time it is given.
    async fn await_compose(
        &self,
        is_meant: fn(&Labels, &Labels) -> bool,
    ) -> Result<bool, StepError> {
        let begun = Instant::now();
        while self.is_half_made(is_meant).await? {
            if begun.elapsed() >= START_LIMIT {
                return Ok(false);
            }
            self.pause().await?;
        }
        Ok(true)
    }

    /// Whether there is a container of Compose's that was made, and not started yet.
    async fn is_half_made(
        &self,
        is_meant: fn(&Labels, &Labels) -> bool,
    ) -> Result<bool, StepError> {
        let original = inspect::labels(&self.journal.header.original);
        if !is_same_project(&original, &original) {
            return Ok(false);
        }
        let new = self.journal.progress.known.new_container.as_ref();
        let is_half_made = |listed: &Listed| {
            listed.state == "created"
                // Made by this update or by another one that is in flight.
                && !names::is_ours(&listed.name)
                && Some(&listed.id) != new
                && is_meant(&original, &listed.labels)
        };
        Ok(self.ports.engine().list().await?.iter().any(is_half_made))
    }

    pub(super) async fn pause(&self) -> Result<(), StepError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(StepError::Asked),
            () = tokio::time::sleep(LOOK_INTERVAL) => Ok(()),
        }
    }
}
