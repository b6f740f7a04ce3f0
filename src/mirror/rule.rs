//! All tags of one rule, one after the other. One bad tag never stops another; only a target that
//! takes nothing at all ends the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::core::decide::reason::Reason;
use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::TreeBuilder;
use crate::core::mirror::memory::RuleMemory;
use crate::core::mirror::refusal::CopyError;
use crate::core::mirror::retention::{Retention, companion_deletions, deletions};
use crate::core::mirror::rule::TagSelection;
use crate::mirror::fetch::fetch;
use crate::mirror::listener::MirrorEvent;
use crate::mirror::report::{RulePreview, RuleReport, TagReport};
use crate::mirror::run::RuleRun;
use crate::mirror::tag::{CopiedTag, TagRun};
use crate::registry::transfer::Transfer;

impl<T: Transfer> RuleRun<'_, T> {
    /// What a run would do. Writes nothing.
    ///
    /// # Errors
    /// The source's tags cannot be listed.
    pub async fn preview(&self, memory: &RuleMemory) -> RulePreview {
        let mut previews = Vec::new();
        for tag in self.tags().await? {
            let preview = TagRun { run: self, tag: &tag, last: memory.last(&tag) }.preview().await;
            previews.push((tag, preview));
        }
        Ok(previews)
    }

    /// Copies what is new, and deletes what `keep` leaves out.
    pub async fn run(&self, memory: &mut RuleMemory) -> RuleReport {
        let mut report = RuleReport::default();
        match self.tags().await {
            Ok(tags) => self.copy_all(tags, memory, &mut report).await,
            Err(error) => report.error = Some(error),
        }
        report
    }

    async fn copy_all(&self, tags: Vec<String>, memory: &mut RuleMemory, report: &mut RuleReport) {
        for tag in tags {
            let (began, before) = (Instant::now(), self.flow.received());
            let run = TagRun { run: self, tag: &tag, last: memory.last(&tag) };
            let copied = run.copy().await;
            let outcome = copied.map(|CopiedTag { outcome, copy, companions }| {
                report.has_news |= copy.is_some_and(|copy| memory.wrote(&tag, copy));
                report.has_news |= memory.wrote_companions(&tag, companions);
                outcome
            });
            let tag_report = TagReport { tag, outcome };
            self.tell(&MirrorEvent::TagEnded {
                report: &tag_report,
                received: self.flow.received().saturating_sub(before),
                took: began.elapsed(),
            });
            let is_last = matches!(
                &tag_report.outcome,
                Err(CopyError::Refused { why, .. }) if why.ends_the_rule()
            );
            report.tags.push(tag_report);
            if is_last {
                return;
            }
        }
        if let Err(error) = self.delete_old(memory, report).await {
            report.error = Some(error);
        }
    }

    /// The tags of this run.
    async fn tags(&self) -> Result<Vec<String>, CopyError> {
        match (&self.scope.tags, &self.rule.tags) {
            // Without `keep`, a tag that was told is copied although there may be newer ones.
            (Some(told), TagSelection::Matching(_)) if self.rule.keep == 0 => {
                let is_ours = |tag: &&String| self.rule.tags.contains(tag);
                Ok(told.iter().filter(is_ours).cloned().collect())
            }
            (Some(told), _) => {
                let selected = self.selected().await?;
                Ok(selected.into_iter().filter(|tag| told.contains(tag)).collect())
            }
            (None, _) => self.selected().await,
        }
    }

    /// The tags that the rule selects now.
    async fn selected(&self) -> Result<Vec<String>, CopyError> {
        let listed = match &self.rule.tags {
            TagSelection::Named(_) => Vec::new(),
            TagSelection::Matching(_) => self.registry.tags(&self.rule.from).await?,
        };
        Ok(self.rule.selected(&listed))
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
        let (to, selected) = (&self.rule.to, self.selected().await?);
        let mut present = BTreeMap::new();
        for tag in self.registry.tags(to).await? {
            let digest = self.registry.digest_of(to, &tag).await?;
            present.extend(digest.map(|digest| (tag, digest)));
        }
        let (selected, written) = (&selected[..], &written[..]);
        let retention = Retention { keep, selected, written, present: &present };
        let first = deletions(&retention, &BTreeSet::new());
        if first.is_empty() {
            return Ok(());
        }
        let going: BTreeSet<_> = first.iter().map(|(digest, _)| digest).collect();
        let staying = present.values().filter(|digest| !going.contains(digest));
        let needed = self.below(staying.cloned().collect()).await?;
        let kept = |digest: &Digest| present.values().any(|tagged| tagged == digest);
        for (digest, tags) in deletions(&retention, &needed) {
            let companions = tags.iter().flat_map(|tag| memory.companions(tag)).collect();
            let below = self.below_if_present(&digest).await?;
            let children = below.into_iter().filter(|it| !needed.contains(it) && !kept(it));
            let companions = companion_deletions(&companions, &present).into_iter();
            // The root first, so that no index is left with a hole.
            let going = [digest].into_iter().chain(companions).chain(children);
            for digest in going.collect::<Vec<_>>() {
                self.registry.delete(to, &digest).await?;
            }
            tags.iter().for_each(|tag| memory.deleted(tag));
            report.has_news = true;
            report.deleted.extend(tags);
        }
        Ok(())
    }

    /// All digests below a manifest that is deleted; none if a part of it is gone already.
    async fn below_if_present(&self, digest: &Digest) -> Result<BTreeSet<Digest>, CopyError> {
        let tree = TreeBuilder::new(digest.clone(), &[]);
        match fetch(self.registry, &self.rule.to, tree).await {
            Ok(tree) => Ok(tree.below_root()),
            Err(error) if error.word() == Reason::NotFound.word() => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
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
