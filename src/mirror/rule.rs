//! All tags of one rule, one after the other. One bad tag never stops another; only a target that
//! takes nothing at all ends the run.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::TreeBuilder;
use crate::core::mirror::memory::RuleMemory;
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::retention::deletions;
use crate::core::mirror::rule::{MirrorRule, TagSelection};
use crate::mirror::tag::{TagOutcome, TagPlan, copy_tag, fetch, plan_tag};
use crate::registry::transfer::{Flow, Transfer};

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

/// One run of a rule.
pub struct RuleRun<'a, T> {
    pub registry: &'a T,
    pub rule: &'a MirrorRule,
    /// Counts the bytes, and limits them.
    pub flow: Flow,
    /// Another repository of the target registry, from which blobs may be mounted. A registry that
    /// does not mount begins an upload, so only one is tried.
    pub mount: Option<String>,
}

impl<T: Transfer> RuleRun<'_, T> {
    /// What a run would do. Writes nothing.
    ///
    /// # Errors
    /// The source's tags cannot be listed.
    pub async fn preview(
        &self,
        memory: &RuleMemory,
    ) -> Result<Vec<(String, Result<TagPlan, CopyError>)>, CopyError> {
        let mut plans = Vec::new();
        for tag in self.tags().await? {
            let last = memory.last(&tag);
            let plan = plan_tag(self.registry, self.rule, &tag, last.as_ref()).await;
            plans.push((tag, plan));
        }
        Ok(plans)
    }

    /// Copies what is new, and deletes what `keep` leaves out.
    pub async fn run(&self, memory: &mut RuleMemory) -> RuleReport {
        let mut report = RuleReport::default();
        let tags = match self.tags().await {
            Ok(tags) => tags,
            Err(error) => {
                report.error = Some(error);
                return report;
            }
        };
        for tag in tags {
            let last = memory.last(&tag);
            let (last, flow, mount) = (last.as_ref(), &self.flow, self.mount.as_deref());
            let copied = copy_tag(self.registry, self.rule, &tag, last, flow, mount).await;
            let outcome = copied.map(|(outcome, copy)| {
                report.has_news |= copy.is_some_and(|copy| memory.wrote(&tag, copy));
                outcome
            });
            let is_last = matches!(
                &outcome, Err(CopyError::Refused { why, .. }) if why.ends_the_rule()
            );
            report.tags.push(TagReport { tag, outcome });
            if is_last {
                return report;
            }
        }
        if let Err(error) = self.delete_old(memory, &mut report).await {
            report.error = Some(error);
        }
        report
    }

    async fn tags(&self) -> Result<Vec<String>, CopyError> {
        let listed = match &self.rule.tags {
            TagSelection::Named(_) => Vec::new(),
            TagSelection::Matching(_) => self.registry.tags(&self.rule.from).await?,
        };
        Ok(self.rule.tags.choose(&listed))
    }

    /// `keep`. The target's tags are looked at only if the mirror wrote more than it keeps.
    async fn delete_old(
        &self,
        memory: &mut RuleMemory,
        report: &mut RuleReport,
    ) -> Result<(), CopyError> {
        let (keep, written) = (self.rule.keep, memory.written());
        if keep == 0 || written.len() <= keep {
            return Ok(());
        }
        let to = &self.rule.to;
        let mut present = BTreeMap::new();
        for tag in self.registry.tags(to).await? {
            let digest = self.registry.digest_of(to, &tag).await?;
            present.extend(digest.map(|digest| (tag, digest)));
        }
        let first = deletions(keep, &written, &present, &BTreeSet::new());
        if first.is_empty() {
            return Ok(());
        }
        let going: BTreeSet<_> = first.iter().map(|(digest, _)| digest).collect();
        let staying = present.values().filter(|digest| !going.contains(digest));
        let needed = self.below(staying.cloned().collect()).await?;
        for (digest, tags) in deletions(keep, &written, &present, &needed) {
            self.registry.delete(to, &digest).await?;
            tags.iter().for_each(|tag| memory.deleted(tag));
            report.has_news = true;
            report.deleted.extend(tags);
        }
        Ok(())
    }

    /// All digests below the manifests that stay.
    async fn below(&self, staying: BTreeSet<Digest>) -> Result<BTreeSet<Digest>, CopyError> {
        let mut needed = BTreeSet::new();
        for digest in staying {
            let tree = TreeBuilder::new(digest, &[]);
            needed.extend(fetch(self.registry, &self.rule.to, tree).await?.below_root());
        }
        Ok(needed)
    }
}
