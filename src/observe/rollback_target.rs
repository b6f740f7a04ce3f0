//! The target of a rollback by hand.

use std::collections::BTreeSet;

use crate::core::decide::memory::Memory;
use crate::core::decide::observation::{Observation, Previous};
use crate::core::docker::names::KEEP_PATTERNS;
use crate::engine::{Engine, EngineError};

/// Finds the previous image of each container that was updated before. Asks nothing if none was. If
/// the Engine does not return its list of images, the target is unknown; no decision of a round
/// depends on it.
pub async fn find(engine: &impl Engine, memory: &Memory, observations: &mut [Observation]) {
    if !observations.iter().any(|seen| memory.previous.contains_key(&seen.subject())) {
        return;
    }
    let kept = kept(engine).await;
    for observation in observations {
        let Some(image) = memory.previous.get(&observation.subject()).cloned() else { continue };
        let kept = match &kept {
            Ok(kept) => kept,
            Err(error) => {
                observation.previous = Previous::Unknown(error.to_string());
                continue;
            }
        };
        let is_kept = kept.contains(&image);
        let is_wanted = observation.policy.as_ref().is_ok_and(|policy| policy.images_keep > 0);
        observation.previous = match (is_kept, is_wanted) {
            (true, _) => Previous::Kept(image),
            (false, true) => Previous::Gone(image),
            (false, false) => Previous::None,
        };
    }
}

/// The IDs of all images that are kept for a rollback.
async fn kept(engine: &impl Engine) -> Result<BTreeSet<String>, EngineError> {
    let mut kept = BTreeSet::new();
    for pattern in KEEP_PATTERNS {
        kept.extend(engine.list_images(pattern).await?.into_iter().map(|image| image.id));
    }
    Ok(kept)
}
