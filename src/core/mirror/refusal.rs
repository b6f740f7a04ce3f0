//! Why a tag is not copied: the closed list of refusals, and every other failure.

use std::fmt;

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;

/// A refusal of the mirror. The log, the metrics, the JSON and the documentation use the same word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MirrorRefusal {
    /// An immutable tag exists at the target and points at something else.
    TagMoved,
    /// The rule requires a signature, and the source has none.
    Unsigned,
    /// The source lacks a platform that the rule names.
    PlatformMissing,
    /// A layer is not in the registry, but behind a URL of its own (`urls`, Windows base images).
    ForeignLayer,
    /// A manifest of Docker's schema 1. Its digest depends on its signature, and new registries
    /// refuse it.
    Schema1,
    /// The target does not take pushes (405, `UNSUPPORTED`): a pull-through cache, or maintenance.
    TargetReadonly,
    /// The target has no space left (507, 413, or a full disk).
    TargetFull,
    /// The source sent nothing for a minute, several times.
    SourceStalled,
    /// The target said that it has content, and could not show it; or it found other content than
    /// was sent.
    TargetLies,
}

impl MirrorRefusal {
    /// All refusals, for documentation and tests.
    pub const ALL: [Self; 9] = [
        Self::TagMoved,
        Self::Unsigned,
        Self::PlatformMissing,
        Self::ForeignLayer,
        Self::Schema1,
        Self::TargetReadonly,
        Self::TargetFull,
        Self::SourceStalled,
        Self::TargetLies,
    ];

    /// The word used in the log, metrics, JSON and documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TagMoved => "tag_moved",
            Self::Unsigned => "unsigned",
            Self::PlatformMissing => Reason::PlatformMissing.word(),
            Self::ForeignLayer => "foreign_layer",
            Self::Schema1 => "schema1",
            Self::TargetReadonly => "target_readonly",
            Self::TargetFull => "target_full",
            Self::SourceStalled => "source_stalled",
            Self::TargetLies => "target_lies",
        }
    }

    /// What the operator can do about it, in one line.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::TagMoved => {
                "publish under a new tag; if the new content is wanted, delete the tag at the target or take it out of `immutable`"
            }
            Self::Unsigned => {
                "sign the image at the source, or set signatures = true for this rule"
            }
            Self::PlatformMissing => {
                "publish the platform, or take it out of `platforms` of this rule"
            }
            Self::ForeignLayer => {
                "build the image so that all of its layers are in the registry (`allow-nondistributable-artifacts`)"
            }
            Self::Schema1 => "push the image again with a current Docker; it writes schema 2",
            Self::TargetReadonly => {
                "let the target registry accept pushes: no `proxy`, and no `maintenance.readonly`"
            }
            Self::TargetFull => {
                "free space at the target: delete tags and run its garbage collection, or set `keep`; if a proxy answers 413, raise its limit for a body"
            }
            Self::SourceStalled => {
                "check the network to the source; the next run goes on with what is missing"
            }
            Self::TargetLies => {
                "restart the target registry: after a garbage collection its cache knows content that is gone"
            }
        }
    }

    /// Whether the rest of the rule fails in the same way, so that no other tag is tried now.
    #[must_use]
    pub const fn ends_the_rule(self) -> bool {
        matches!(self, Self::TargetReadonly | Self::TargetFull)
    }
}

impl fmt::Display for MirrorRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Why one tag was not copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// One of the closed list.
    #[error("{detail}")]
    Refused { why: MirrorRefusal, detail: String },
    /// A request failed, as it can for every lookup.
    #[error(transparent)]
    Failed(#[from] LookupError),
}

impl CopyError {
    /// A refusal with its sentence.
    pub fn refused(why: MirrorRefusal, detail: impl Into<String>) -> Self {
        Self::Refused { why, detail: detail.into() }
    }

    /// An answer that makes no sense.
    pub fn nonsense(detail: impl Into<String>) -> Self {
        Self::Failed(LookupError::new(Reason::RegistryError, detail))
    }

    /// The word used in the log, metrics and JSON.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Refused { why, .. } => why.word(),
            Self::Failed(error) => error.reason.word(),
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Refused { why, .. } => why.advice(),
            Self::Failed(error) => error.reason.advice(),
        }
    }

    /// Whether it is this refusal.
    #[must_use]
    pub fn is(&self, wanted: MirrorRefusal) -> bool {
        matches!(self, Self::Refused { why, .. } if *why == wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_word_and_advice_of_its_own() {
        let words: BTreeSet<_> = MirrorRefusal::ALL.iter().map(|why| why.word()).collect();
        let advice: BTreeSet<_> = MirrorRefusal::ALL.iter().map(|why| why.advice()).collect();
        assert_eq!((words.len(), advice.len()), (9, 9));
        assert!(words.iter().all(|word| {
            word.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        }));
    }

    #[test]
    fn the_words_are_shared_with_those_of_lookups() {
        let failed = CopyError::nonsense("x");
        assert_eq!((failed.word(), failed.to_string()), ("registry_error", "x".to_owned()));
        let refused = CopyError::refused(MirrorRefusal::PlatformMissing, "y");
        assert_eq!(refused.word(), "platform_missing");
        assert!(refused.is(MirrorRefusal::PlatformMissing) && !refused.is(MirrorRefusal::Schema1));
    }
}
