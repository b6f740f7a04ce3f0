//! One tag of a rule.

use std::collections::BTreeSet;

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::Companion;
use crate::core::mirror::manifest_tree::{ManifestTree, TreeBuilder};
use crate::core::mirror::plan::{CopyPlan, CopyStep, companion_steps, companion_tags, plan};
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::core::mirror::rule::{RepositoryName, SignatureMode};
use crate::core::mirror::tag_state::{LastCopy, TagState, check_result, compare};
use crate::mirror::again::again;
use crate::mirror::companions::CompanionSearch;
use crate::mirror::fetch::fetch;
use crate::mirror::listener::MirrorEvent;
use crate::mirror::report::{TagOutcome, TagPlan, TagPreview};
use crate::mirror::run::RuleRun;
use crate::mirror::steps::Steps;
use crate::registry::transfer::Transfer;

/// How often the steps are done for one tag. The garbage collection of the target may take a blob
/// away between two steps; doing all of them again puts it back.
const RUNS_MAX: usize = 2;

/// What was written for a tag.
pub(super) struct CopiedTag {
    pub outcome: TagOutcome,
    /// What was copied, and from which digest; absent if it was there.
    pub copy: Option<LastCopy>,
    /// The tags of documents about it.
    pub companions: BTreeSet<String>,
}

impl CopiedTag {
    fn nothing() -> Self {
        Self { outcome: TagOutcome::UpToDate, copy: None, companions: BTreeSet::new() }
    }
}

/// One tag of a rule that is compared or copied.
pub(super) struct TagRun<'a, T> {
    pub run: &'a RuleRun<'a, T>,
    pub tag: &'a str,
    pub last: Option<LastCopy>,
}

impl<T: Transfer> TagRun<'_, T> {
    /// Compares both sides, fetches what is new, and plans its copy. Writes nothing.
    pub(super) async fn plan(&self) -> Result<TagPlan, CopyError> {
        self.plan_if(|state| state == TagState::Behind).await
    }

    /// The same if `is_planned` says so of the comparison.
    async fn plan_if(&self, is_planned: fn(TagState) -> bool) -> Result<TagPlan, CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        let source = registry.digest_of(&rule.from, self.tag).await?;
        let source = source.ok_or_else(|| not_found(&rule.from, self.tag))?;
        let target = again(|| registry.digest_of(&rule.to, self.tag)).await?;
        let mut planned = TagPlan { source, target, plan: None, pulls: 0 };
        let (source, target) = (&planned.source, planned.target.as_ref());
        if !is_planned(compare(rule, self.tag, source, target, self.last.as_ref())?) {
            return Ok(planned);
        }
        let tree = TreeBuilder::new(source.clone(), &rule.platforms);
        let image = fetch(registry, &rule.from, tree).await?;
        planned.pulls = image.manifests().count();
        let result = image.root().map_or(source, |root| &root.digest);
        if !is_planned(check_result(rule, self.tag, result, target)?) {
            return Ok(planned);
        }
        let found = match rule.signatures {
            SignatureMode::Ignore => Vec::new(),
            _ => CompanionSearch::new(registry, &rule.from).find(&image).await?,
        };
        let manifests = |companion: &Companion| companion.tree.manifests().count();
        planned.pulls += found.iter().map(manifests).sum::<usize>();
        planned.plan = Some(plan(rule, self.tag, &image, &found)?);
        Ok(planned)
    }

    /// The plan, and how many bytes of it must be sent. Writes nothing.
    pub(super) async fn preview(&self) -> Result<TagPreview, CopyError> {
        let plan = self.plan().await?;
        let mut missing_bytes = 0_u64;
        for blob in plan.plan.iter().flat_map(CopyPlan::blobs) {
            if !self.run.registry.has_blob(&self.run.rule.to, blob).await? {
                missing_bytes = missing_bytes.saturating_add(blob.size);
            }
        }
        Ok(TagPreview { plan, missing_bytes })
    }

    /// Copies the tag if it is new.
    pub(super) async fn copy(&self) -> Result<CopiedTag, CopyError> {
        let mut planned = self.plan().await?;
        if planned.plan.is_none() && self.run.scope.is_thorough {
            let target = planned.target.take().unwrap_or_else(|| planned.source.clone());
            match self.present_image(target).await? {
                Some(image) => return self.copy_late_documents(&image).await,
                None => planned = self.plan_if(|_| true).await?,
            }
        }
        let TagPlan { source, plan, .. } = planned;
        let Some(plan) = plan else { return Ok(CopiedTag::nothing()) };
        self.run.tell(&MirrorEvent::TagBegun {
            tag: self.tag,
            blobs: plan.blobs().count(),
            bytes: plan.blob_bytes(),
            flow: &self.run.flow,
        });
        self.carry_out(&plan.steps).await?;
        let RuleRun { registry, rule, .. } = *self.run;
        let there = again(|| registry.digest_of(&rule.to, self.tag)).await?;
        if there.as_ref() != Some(&plan.result) {
            let detail = format!("{}:{} is not what was just written there", rule.to, self.tag);
            return Err(CopyError::refused(MirrorRefusal::TargetLies, detail));
        }
        let (digest, is_whole) = (plan.result.clone(), plan.is_whole);
        let copy = Some(LastCopy { source, written: plan.result });
        let companions = companion_tags(&plan.steps, self.tag);
        Ok(CopiedTag { outcome: TagOutcome::Copied { digest, is_whole }, copy, companions })
    }

    /// The image behind the target's tag; `None` if a part of it is gone. A garbage collection may
    /// remove it beside an upload, and the registry serves the tag all the same.
    async fn present_image(&self, target: Digest) -> Result<Option<ManifestTree>, CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        let image = match fetch(registry, &rule.to, TreeBuilder::new(target, &[])).await {
            Err(error) if error.word() == Reason::NotFound.word() => return Ok(None),
            fetched => fetched?,
        };
        for blob in image.blobs() {
            if !registry.has_blob(&rule.to, blob).await? {
                return Ok(None);
            }
        }
        Ok(Some(image))
    }

    /// Copies documents that came after the image. Its manifests come from the target: there they
    /// cost no pull.
    async fn copy_late_documents(&self, image: &ManifestTree) -> Result<CopiedTag, CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        if rule.signatures == SignatureMode::Ignore {
            return Ok(CopiedTag::nothing());
        }
        let mut search = CompanionSearch::new(registry, &rule.from).missing_at(&rule.to);
        let found = search.find(image).await?;
        if found.is_empty() {
            return Ok(CopiedTag::nothing());
        }
        let steps = companion_steps(&found);
        self.carry_out(&steps).await?;
        let outcome = TagOutcome::DocumentsCopied { count: found.len() };
        Ok(CopiedTag { outcome, copy: None, companions: companion_tags(&steps, self.tag) })
    }

    async fn carry_out(&self, steps: &[CopyStep]) -> Result<(), CopyError> {
        let executor = Steps { run: self.run };
        for _ in 1..RUNS_MAX {
            match executor.carry_out(steps).await {
                Err(error) if error.is(MirrorRefusal::TargetLies) => {}
                other => return other,
            }
        }
        executor.carry_out(steps).await
    }
}

fn not_found(from: &RepositoryName, tag: &str) -> CopyError {
    let detail = format!("{from} has no tag {tag}");
    CopyError::Failed(LookupError::new(Reason::NotFound, detail))
}
