//! The document of `mirror --once --json` and `mirror --dry-run --json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rounded;
use crate::core::decide::quota::Quota;
use crate::core::docker::reference::Digest;
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::rule::MirrorRule;
use crate::documents::QuotaRow;
use crate::mirror::{RulePreview, RuleReport, TagOutcome, TagPreview, TagReport};

/// What a run of all rules did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorDocument {
    pub finished_at: DateTime<Utc>,
    pub rules: Vec<MirrorRuleRow>,
    /// What the sources say of their quotas, by registry.
    pub quotas: BTreeMap<String, QuotaRow>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRuleRow {
    pub rule: String,
    /// Repository of the source.
    pub from: String,
    /// Repository of the target.
    pub to: String,
    pub tags: Vec<MirrorTagRow>,
    /// Tags that `keep` deleted.
    pub deleted: Vec<String>,
    /// Why the rule could not be carried out to its end.
    #[serde(flatten)]
    pub failure: Option<MirrorFailure>,
}

/// What became of a tag, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorOutcome {
    UpToDate,
    Copied,
    /// Documents about the image were copied: signatures, attestations.
    DocumentsCopied,
    /// It would be copied.
    Due,
    Failed,
}

impl MirrorOutcome {
    /// The word of the JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UpToDate => "up_to_date",
            Self::Copied => "copied",
            Self::DocumentsCopied => "documents_copied",
            Self::Due => "due",
            Self::Failed => "failed",
        }
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorTagRow {
    pub tag: String,
    pub outcome: MirrorOutcome,
    /// What the tag of the target points at, or would; absent if it is not known.
    pub digest: Option<Digest>,
    /// Whether that is the source's digest. It is not for a subset of the platforms.
    pub is_whole: bool,
    /// Bytes that would be sent; absent after a run.
    pub missing_bytes: Option<u64>,
    /// Manifests that were fetched at the source: pulls, where pulls are counted. Absent after a
    /// run.
    pub pulls: Option<usize>,
    #[serde(flatten)]
    pub failure: Option<MirrorFailure>,
}

/// A "no" with its advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorFailure {
    pub reason: String,
    pub detail: String,
    pub advice: String,
}

impl From<&CopyError> for MirrorFailure {
    fn from(error: &CopyError) -> Self {
        let (reason, advice) = (error.word().to_owned(), error.advice().to_owned());
        Self { reason, detail: error.to_string(), advice }
    }
}

impl MirrorDocument {
    /// The rows of all rules, at the end.
    #[must_use]
    pub fn new(
        finished_at: DateTime<Utc>,
        rules: Vec<MirrorRuleRow>,
        quotas: &BTreeMap<String, Quota>,
    ) -> Self {
        let quota =
            |(registry, quota): (&String, &Quota)| (registry.clone(), QuotaRow::from(quota));
        let quotas = quotas.iter().map(quota).collect();
        Self { finished_at: rounded(finished_at), rules, quotas }
    }

    /// Whether anything failed.
    #[must_use]
    pub fn has_failures(&self) -> bool {
        let has_bad_tag = |rule: &MirrorRuleRow| rule.tags.iter().any(|tag| tag.failure.is_some());
        self.rules.iter().any(|rule| rule.failure.is_some() || has_bad_tag(rule))
    }

    /// Whether nothing at all could be done.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        let is_bad = |rule: &MirrorRuleRow| {
            rule.tags.iter().all(|tag| tag.failure.is_some())
                && (rule.failure.is_some() || !rule.tags.is_empty())
        };
        !self.rules.is_empty() && self.rules.iter().all(is_bad)
    }
}

impl MirrorRuleRow {
    fn new(rule: &MirrorRule) -> Self {
        let MirrorRule { name, from, to, .. } = rule;
        Self {
            rule: name.clone(),
            from: from.to_string(),
            to: to.to_string(),
            tags: Vec::new(),
            deleted: Vec::new(),
            failure: None,
        }
    }

    /// What a run did.
    #[must_use]
    pub fn of_run(rule: &MirrorRule, report: &RuleReport) -> Self {
        Self {
            tags: report.tags.iter().map(MirrorTagRow::of_run).collect(),
            deleted: report.deleted.clone(),
            failure: report.error.as_ref().map(MirrorFailure::from),
            ..Self::new(rule)
        }
    }

    /// What a run would do.
    #[must_use]
    pub fn of_preview(rule: &MirrorRule, preview: &RulePreview) -> Self {
        let row = Self::new(rule);
        match preview {
            Ok(tags) => {
                let tags = tags.iter().map(|(tag, preview)| MirrorTagRow::of_preview(tag, preview));
                Self { tags: tags.collect(), ..row }
            }
            Err(error) => Self { failure: Some(error.into()), ..row },
        }
    }
}

impl MirrorTagRow {
    fn failed(tag: &str, error: &CopyError) -> Self {
        Self {
            tag: tag.to_owned(),
            outcome: MirrorOutcome::Failed,
            digest: None,
            is_whole: true,
            missing_bytes: None,
            pulls: None,
            failure: Some(error.into()),
        }
    }

    fn of_run(report: &TagReport) -> Self {
        let outcome = match &report.outcome {
            Err(error) => return Self::failed(&report.tag, error),
            Ok(outcome) => outcome,
        };
        let (word, is_whole) = match outcome {
            TagOutcome::UpToDate => (MirrorOutcome::UpToDate, true),
            TagOutcome::DocumentsCopied { .. } => (MirrorOutcome::DocumentsCopied, true),
            TagOutcome::Copied { is_whole, .. } => (MirrorOutcome::Copied, *is_whole),
        };
        Self {
            tag: report.tag.clone(),
            outcome: word,
            digest: outcome.copied_digest().cloned(),
            is_whole,
            missing_bytes: None,
            pulls: None,
            failure: None,
        }
    }

    fn of_preview(tag: &str, preview: &Result<TagPreview, CopyError>) -> Self {
        let TagPreview { plan: planned, missing_bytes } = match preview {
            Err(error) => return Self::failed(tag, error),
            Ok(preview) => preview,
        };
        let is_due = planned.plan.is_some();
        let result = planned.plan.as_ref().map(|plan| &plan.result).or(planned.target.as_ref());
        Self {
            tag: tag.to_owned(),
            outcome: if is_due { MirrorOutcome::Due } else { MirrorOutcome::UpToDate },
            digest: result.cloned(),
            is_whole: planned.plan.as_ref().is_none_or(|plan| plan.is_whole),
            missing_bytes: Some(*missing_bytes),
            pulls: Some(planned.pulls),
            failure: None,
        }
    }
}
