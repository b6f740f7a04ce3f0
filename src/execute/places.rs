//! How many updates may pull, and how many may switch, at the same time.
//!
//! Updates of several containers run side by side. A pull and a switch load the machine most, so an
//! update needs a place for each of them. A rollback never waits for a place: a service must not
//! stay down because another container takes long to stop.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::StepError;

/// How many images are pulled at the same time, if the settings say nothing else. While one image
/// is unpacked, another one is downloaded. More pulls would only wait for each other, because
/// Docker downloads three layers at a time (`max-concurrent-downloads`).
const PULLS_MAX: usize = 2;

/// How many updates stop the old container and start the new one at the same time. Two services
/// that stop and start together share the processor and the disk, so both would be down for longer.
const SWITCHES_MAX: usize = 1;

/// The places that the updates of an agent share. The update that has waited longest gets the next
/// one.
#[derive(Debug)]
pub struct Places {
    pulls: Semaphore,
    switches: Semaphore,
}

/// A place in use. Dropping it frees it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
    has_waited: bool,
}

impl Place<'_> {
    /// Whether it had to wait for its place.
    pub(super) const fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl Places {
    /// Places for so many pulls at the same time, at least one, and for one switch.
    #[must_use]
    pub fn new(pulls: usize) -> Self {
        let pulls = pulls.clamp(1, Semaphore::MAX_PERMITS);
        Self { pulls: Semaphore::new(pulls), switches: Semaphore::new(SWITCHES_MAX) }
    }

    /// Waits for a place to pull.
    ///
    /// # Errors
    /// The agent was asked to stop.
    pub(super) async fn for_pull(&self, stop: &CancellationToken) -> Result<Place<'_>, StepError> {
        take(&self.pulls, stop).await
    }

    /// Waits for the place to switch.
    ///
    /// # Errors
    /// The agent was asked to stop.
    pub(super) async fn for_switch(
        &self,
        stop: &CancellationToken,
    ) -> Result<Place<'_>, StepError> {
        take(&self.switches, stop).await
    }

    /// The place to switch if it is free now: for a switch that has begun before, because its
    /// service may be down already.
    pub(super) fn for_switch_begun_before(&self) -> Option<Place<'_>> {
        take_free(&self.switches)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new(PULLS_MAX)
    }
}

fn take_free(places: &Semaphore) -> Option<Place<'_>> {
    let permit = places.try_acquire().ok()?;
    Some(Place { _permit: permit, has_waited: false })
}

async fn take<'a>(places: &'a Semaphore, stop: &CancellationToken) -> Result<Place<'a>, StepError> {
    if let Some(place) = take_free(places) {
        return Ok(place);
    }
    match stop.run_until_cancelled(places.acquire()).await {
        Some(Ok(permit)) => Ok(Place { _permit: permit, has_waited: true }),
        // The semaphores are never closed.
        Some(Err(_)) | None => Err(StepError::Asked),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MOMENT: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_third_pull_and_a_second_switch_wait() {
        let (places, stop) = (Places::default(), CancellationToken::new());
        let first = places.for_pull(&stop).await.expect("a free place");
        let second = places.for_pull(&stop).await.expect("a free place");
        assert!(!first.has_waited() && !second.has_waited());
        assert!(tokio::time::timeout(MOMENT, places.for_pull(&stop)).await.is_err());
        let switch = places.for_switch(&stop).await.expect("pulls take no place of a switch");
        assert!(tokio::time::timeout(MOMENT, places.for_switch(&stop)).await.is_err());
        let (third, ()) = tokio::join!(places.for_pull(&stop), async { drop(first) });
        assert!(third.expect("the place of the first").has_waited());
        drop(switch);
        assert!(!places.for_switch(&stop).await.expect("a free place").has_waited());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_the_agent_is_asked_to_stop() {
        let (places, stop) = (Places::new(0), CancellationToken::new());
        let _pull = places.for_pull(&stop).await.expect("there is at least one place");
        let _switch = places.for_switch(&stop).await.expect("a free place");
        let (pull, switch, ()) =
            tokio::join!(places.for_pull(&stop), places.for_switch(&stop), async { stop.cancel() });
        assert!(matches!(pull, Err(StepError::Asked)));
        assert!(matches!(switch, Err(StepError::Asked)));
    }

    #[tokio::test]
    async fn a_switch_that_was_begun_before_never_waits() {
        let (places, stop) = (Places::default(), CancellationToken::new());
        let taken = places.for_switch(&stop).await.expect("a free place");
        assert!(places.for_switch_begun_before().is_none());
        drop(taken);
        assert!(places.for_switch_begun_before().is_some());
    }
}
