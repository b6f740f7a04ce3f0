//! What a run of a rule did, and what it would do.

use crate::core::docker::reference::{Digest, Reference};
use crate::core::mirror::plan::CopyPlan;
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::MirrorRule;

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagOutcome {
    /// The target had it.
    UpToDate,
    /// The target had it, and got documents about it that came later: signatures, attestations.
    DocumentsCopied { count: usize },
    Copied {
        digest: Digest,
        /// Whether it is the source's digest.
        is_whole: bool,
    },
}

impl TagOutcome {
    /// The digest behind the tag, if an image was copied.
    #[must_use]
    pub const fn copied_digest(&self) -> Option<&Digest> {
        match self {
            Self::Copied { digest, .. } => Some(digest),
            Self::UpToDate | Self::DocumentsCopied { .. } => None,
        }
    }
}

/// What became of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagReport {
    pub tag: String,
    pub outcome: Result<TagOutcome, CopyError>,
}

/// What became of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleReport {
    pub tags: Vec<TagReport>,
    /// Tags that `keep` deleted.
    pub deleted: Vec<String>,
    /// Why the tags could not be listed, or the old ones not deleted.
    pub error: Option<CopyError>,
    /// Whether the memory changed and wants to be written.
    pub has_news: bool,
}

impl TagReport {
    /// The reference at the target, if an image was just copied there.
    #[must_use]
    pub fn copied_reference(&self, rule: &MirrorRule) -> Option<Reference> {
        let digest = self.outcome.as_ref().ok()?.copied_digest()?;
        Some(Reference { digest: Some(digest.clone()), ..rule.to.tagged(&self.tag) })
    }
}

impl RuleReport {
    /// The failures: of the whole rule, then of its tags.
    pub fn failures(&self) -> impl Iterator<Item = &CopyError> {
        let tags = self.tags.iter().filter_map(|tag| tag.outcome.as_ref().err());
        self.error.iter().chain(tags)
    }

    /// Whether everything at the target is as it is at the source.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// What a copy of a tag would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlan {
    /// What the source's tag points at.
    pub source: Digest,
    /// What the target's tag points at.
    pub target: Option<Digest>,
    /// The steps; `None` if the target is up to date.
    pub plan: Option<CopyPlan>,
    /// Manifests that were fetched at the source: pulls, where pulls are counted.
    pub pulls: usize,
}

/// What a run would do with a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPreview {
    pub plan: TagPlan,
    /// Bytes of the blobs that the target lacks.
    pub missing_bytes: u64,
}

/// What a run of a rule would do with each of its tags.
pub type RulePreview = Result<Vec<(String, Result<TagPreview, CopyError>)>, CopyError>;
