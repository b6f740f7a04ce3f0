//! One tag of a rule.

use crate::core::decide::offer::LookupError;
use crate::core::decide::reason::Reason;
use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::{ManifestTree, TreeBuilder};
use crate::core::mirror::plan::{CopyPlan, plan};
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::core::mirror::rule::{MirrorRule, RepositoryName, SignatureMode};
use crate::core::mirror::tag_state::{LastCopy, TagState, check_result, compare};
use crate::mirror::again::again;
use crate::mirror::companions;
use crate::mirror::steps::Steps;
use crate::registry::transfer::{Flow, Transfer};

/// How often the steps are done for one tag. The garbage collection of the target may take a blob
/// away between two steps; doing all of them again puts it back.
const RUNS_MAX: usize = 2;

/// What became of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagOutcome {
    /// The target had it.
    UpToDate,
    Copied {
        digest: Digest,
        /// Whether it is the source's digest.
        is_whole: bool,
    },
}

/// What a copy of a tag would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlan {
    /// What the source's tag points at.
    pub source: Digest,
    /// The steps; `None` if the target is up to date.
    pub plan: Option<CopyPlan>,
    /// Manifests that were fetched at the source: pulls, where pulls are counted.
    pub pulls: usize,
}

/// Compares both sides of a tag, fetches what is new, and plans its copy. Writes nothing.
pub(super) async fn plan_tag<T: Transfer>(
    registry: &T,
    rule: &MirrorRule,
    tag: &str,
    last: Option<&LastCopy>,
) -> Result<TagPlan, CopyError> {
    let source = registry.digest_of(&rule.from, tag).await?;
    let source = source.ok_or_else(|| not_found(&rule.from, tag))?;
    let target = again(|| registry.digest_of(&rule.to, tag)).await?;
    let done = |pulls| TagPlan { source: source.clone(), plan: None, pulls };
    if compare(rule, tag, &source, target.as_ref(), last)? == TagState::UpToDate {
        return Ok(done(0));
    }
    let image =
        fetch(registry, &rule.from, TreeBuilder::new(source.clone(), &rule.platforms)).await?;
    let mut pulls = image.manifests().count();
    let result = image.root().map_or(&source, |root| &root.digest);
    if check_result(rule, tag, result, target.as_ref())? == TagState::UpToDate {
        return Ok(done(pulls));
    }
    let found = match rule.signatures {
        SignatureMode::Ignore => Vec::new(),
        _ => companions::find(registry, &rule.from, &image).await?,
    };
    pulls += found.iter().map(|companion| companion.tree.manifests().count()).sum::<usize>();
    let plan = plan(rule, tag, &image, &found)?;
    Ok(TagPlan { source, plan: Some(plan), pulls })
}

/// Copies a tag, if it is new. Returns what was copied, and from which digest.
pub(super) async fn copy_tag<T: Transfer>(
    registry: &T,
    rule: &MirrorRule,
    tag: &str,
    last: Option<&LastCopy>,
    flow: &Flow,
    mount: Option<&str>,
) -> Result<(TagOutcome, Option<LastCopy>), CopyError> {
    let planned = plan_tag(registry, rule, tag, last).await?;
    let Some(plan) = planned.plan else { return Ok((TagOutcome::UpToDate, None)) };
    let steps = Steps { registry, from: &rule.from, to: &rule.to, flow, mount };
    let mut done = steps.carry_out(&plan).await;
    for _ in 1..RUNS_MAX {
        if done.as_ref().is_err_and(|error| error.is(MirrorRefusal::TargetLies)) {
            done = steps.carry_out(&plan).await;
        }
    }
    done?;
    let there = again(|| registry.digest_of(&rule.to, tag)).await?;
    if there.as_ref() != Some(&plan.result) {
        let detail = format!("{}:{tag} is not what was just written there", rule.to);
        return Err(CopyError::refused(MirrorRefusal::TargetLies, detail));
    }
    let (digest, is_whole) = (plan.result.clone(), plan.is_whole);
    let copy = LastCopy { source: planned.source, written: plan.result };
    Ok((TagOutcome::Copied { digest, is_whole }, Some(copy)))
}

/// Fetches everything below a digest.
pub(super) async fn fetch<T: Transfer>(
    registry: &T,
    from: &RepositoryName,
    mut tree: TreeBuilder,
) -> Result<ManifestTree, CopyError> {
    while let Some(digest) = tree.next().cloned() {
        tree.add(registry.manifest(from, &digest).await?)?;
    }
    tree.finish().ok_or_else(|| CopyError::nonsense(format!("{from} has an incomplete image")))
}

fn not_found(from: &RepositoryName, tag: &str) -> CopyError {
    let detail = format!("{from} has no tag {tag}");
    CopyError::Failed(LookupError::new(Reason::NotFound, detail))
}
