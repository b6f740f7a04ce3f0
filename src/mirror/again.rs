//! Requests to a target that another mirror writes to at the same time. Distribution 2.8 answers
//! 500 to one of two writes of a tag, and to a look at a tag that is just being written.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tokio::time::sleep;

use crate::core::decide::reason::Reason;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};

/// How often a request is sent that the target answers with an error.
const TRIES_MAX: usize = 4;

/// First pause before a request is sent again; it doubles. A race of two writes is over in
/// milliseconds.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Asks until the answer makes sense, a few times at most.
pub(super) async fn again<T, F>(ask: impl Fn() -> F) -> Result<T, CopyError>
where
    F: Future<Output = Result<T, CopyError>>,
{
    let mut pause = RETRY_PAUSE;
    for _ in 1..TRIES_MAX {
        match ask().await {
            Err(error) if makes_no_sense(&error) => {}
            other => return other,
        }
        // Two mirrors that were refused together must not come back together.
        sleep(pause.mul_f64(0.5 + chance())).await;
        pause *= 2;
    }
    ask().await
}

fn makes_no_sense(error: &CopyError) -> bool {
    let is_odd =
        matches!(error, CopyError::Failed(failure) if failure.reason == Reason::RegistryError);
    is_odd || error.is(MirrorRefusal::TargetLies)
}

/// A number from 0 to 1, another one each time.
fn chance() -> f64 {
    let [first, second, ..] = RandomState::new().hash_one(()).to_le_bytes();
    f64::from(u16::from_le_bytes([first, second])) / f64::from(u16::MAX)
}
