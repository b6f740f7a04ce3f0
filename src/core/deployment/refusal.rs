//! Why a push, or another question about a deployment, is refused: one closed list of words.

use crate::core::decide::No;
use crate::core::decide::reason::Reason;

/// The words of the API's errors. The server adds the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalWord {
    /// The upload is no image archive, has a wrong entry, no or several images, is incomplete, or
    /// does not match its digest.
    BadArchive,
    /// The client has no rule for this act on this name.
    NotAllowed,
    /// The configuration has no deployment with this name.
    NoSuchDeployment,
    /// The deployment has no container, and no definition to create one from.
    NoSuchContainer,
    /// The container is being updated.
    UpdateInFlight,
    /// A layer that was left out of the archive is not on this machine.
    LayersMissing,
    /// The upload is larger than the limit.
    TooLarge,
    /// Another image is being loaded.
    Busy,
    /// The agent is starting, ending, or recovering an update; or another agent has the Engine.
    NotReady,
    /// The Engine's disk has too little space for the image.
    DiskFull,
    /// The Engine refused a call.
    EngineError,
    /// A rule about updates forbids it; the word is the rule's reason.
    Held(Reason),
}

impl RefusalWord {
    /// The word in the JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadArchive => "bad_archive",
            Self::NotAllowed => "not_allowed",
            Self::NoSuchDeployment => "no_such_deployment",
            Self::NoSuchContainer => "no_such_container",
            Self::UpdateInFlight => "update_in_flight",
            Self::LayersMissing => "layers_missing",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::NotReady => "not_ready",
            Self::DiskFull => "disk_full",
            Self::EngineError => "engine_error",
            Self::Held(reason) => reason.word(),
        }
    }
}

/// A refusal, with what a person needs to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", word.word())]
pub struct PushRefusal {
    pub word: RefusalWord,
    /// What happened, and what to do, in one or two sentences.
    pub detail: String,
}

impl PushRefusal {
    /// A refusal with this word.
    #[must_use]
    pub fn new(word: RefusalWord, detail: impl Into<String>) -> Self {
        Self { word, detail: detail.into() }
    }

    /// The configuration has no deployment with this name.
    #[must_use]
    pub fn no_such_deployment(name: &str) -> Self {
        let detail = format!("the configuration has no deployment named {name:?}");
        Self::new(RefusalWord::NoSuchDeployment, detail)
    }

    /// A rule about updates forbids it for this container.
    #[must_use]
    pub fn held(container: &str, no: &No) -> Self {
        let word = match no.reason {
            Reason::UpdateInFlight => RefusalWord::UpdateInFlight,
            Reason::DiskFull => RefusalWord::DiskFull,
            Reason::EngineError => RefusalWord::EngineError,
            reason => RefusalWord::Held(reason),
        };
        // No round brings a pushed image again, so the client does.
        let advice = match no.reason {
            Reason::OutsideWindow => "push again in its window, or with force",
            Reason::HeldByHook => "push again later: its own pre-update hook holds the update",
            reason => reason.advice(),
        };
        let advice = advice.replace("NAME", container);
        let detail = match no.detail.is_empty() {
            true => advice,
            false => format!("{}; {advice}", no.detail),
        };
        Self::new(word, detail)
    }
}
