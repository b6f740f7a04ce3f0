//! Whether bytes still move to a target, and why a stream ended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::mirror::refusal::CopyError;

/// How long a target may take for its answer after the last byte. Registries flush the blob first,
/// and some copy it to another place.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What an upload waits for.
#[derive(Clone, Copy)]
enum WaitingFor {
    /// For bytes of the source, which has its own time-out.
    Source,
    /// For the target, which has taken the earlier bytes at this time.
    Target(Instant),
    /// For the target's answer.
    Answer(Instant),
}

/// One upload, seen from outside of its stream.
pub(super) struct Movement {
    waiting: Mutex<WaitingFor>,
    error: Mutex<Option<CopyError>>,
    silence: Duration,
}

impl Movement {
    /// An upload that begins now. `silence` is how long a target may take no byte.
    pub fn new(silence: Duration) -> Self {
        let waiting = Mutex::new(WaitingFor::Target(Instant::now()));
        Self { waiting, error: Mutex::default(), silence }
    }

    /// The target takes more bytes.
    pub fn wants_bytes(&self) {
        self.set(WaitingFor::Source);
    }

    /// The target got bytes.
    pub fn gave_bytes(&self) {
        self.set(WaitingFor::Target(Instant::now()));
    }

    /// The target got all bytes.
    pub fn ended(&self) {
        self.set(WaitingFor::Answer(Instant::now()));
    }

    /// The source has no good bytes.
    pub fn failed(&self, error: CopyError) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Why the source has no good bytes.
    pub fn error(&self) -> Option<CopyError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, waiting: WaitingFor) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    fn deadline(&self) -> Option<Instant> {
        match *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            WaitingFor::Source => None,
            WaitingFor::Target(since) => Some(since + self.silence),
            WaitingFor::Answer(since) => Some(since + self.silence.max(COMMIT_TIMEOUT)),
        }
    }

    /// Waits until the target has taken nothing for too long.
    pub async fn stopped(&self) {
        loop {
            let now = Instant::now();
            match self.deadline() {
                Some(deadline) if deadline <= now => return,
                Some(deadline) => sleep_until(deadline).await,
                None => sleep_until(now + self.silence).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_target_is_waited_for() {
        let (movement, start) = (Movement::new(Duration::from_secs(60)), Instant::now());
        movement.wants_bytes();
        let waited = tokio::time::timeout(Duration::from_secs(600), movement.stopped()).await;
        assert!(waited.is_err(), "the source has a time-out of its own");
        movement.gave_bytes();
        movement.stopped().await;
        assert_eq!(start.elapsed().as_secs(), 660);
        movement.ended();
        movement.stopped().await;
        assert_eq!(start.elapsed().as_secs(), 960);
    }
}
