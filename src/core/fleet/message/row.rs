//! `device/ID/container/NAME` and `device/ID/service/NAME`, as an observer of the fleet reads them.

use serde::Deserialize;

use crate::core::decide::report::Verdict;
use crate::core::docker::reference::Digest;
use crate::core::fleet::message::{MessageError, decode, wire};

/// Longest word of a reason or a step in characters, and longest version.
const WORD_LENGTH_MAX: usize = 64;

/// What a device says about one container or service.
///
/// Reason and step are texts, because a newer agent may have more words. Longer texts are cut, so
/// that the memory for one row has a limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SubjectState {
    /// The image as the user wrote it.
    #[serde(deserialize_with = "wire::shortened::<_, {wire::REFERENCE_LENGTH_MAX}>")]
    pub image: String,
    #[serde(default)]
    pub running: Option<Digest>,
    #[serde(default)]
    pub offered: Option<Digest>,
    pub verdict: Verdict,
    #[serde(default, deserialize_with = "wire::optional_shortened::<_, WORD_LENGTH_MAX>")]
    pub reason: Option<String>,
    /// Whether an update of it is in flight.
    #[serde(default)]
    pub busy: bool,
    #[serde(default, deserialize_with = "wire::optional_shortened::<_, WORD_LENGTH_MAX>")]
    pub step: Option<String>,
    /// How much of the image is pulled, from 0 to 100.
    #[serde(default)]
    pub percent: Option<u8>,
    /// The version that the running image names.
    #[serde(default, deserialize_with = "wire::optional_shortened::<_, WORD_LENGTH_MAX>")]
    pub version: Option<String>,
}

impl SubjectState {
    /// Reads the payload.
    ///
    /// # Errors
    /// Why the message is ignored.
    pub fn read(payload: &[u8]) -> Result<Self, MessageError> {
        let mut state: Self = decode(payload)?;
        // Mostly the offered digest is the running one: then both share one text.
        if state.offered == state.running {
            state.offered.clone_from(&state.running);
        }
        Ok(state)
    }
}
