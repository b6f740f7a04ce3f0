//! The steps of one tag's copy, in an order in which the copy may end at any place: everything that
//! a manifest names is at the target before the manifest, and the tag is the last. So the image
//! behind the tag is complete at each moment, its signatures included.

use std::collections::BTreeSet;

use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::{Companion, CompanionPlace, is_signed};
use crate::core::mirror::manifest_tree::{BlobDescriptor, ManifestTree, RawManifest};
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::core::mirror::rule::{MirrorRule, SignatureMode};

/// One step. Doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyStep {
    /// The target has the blob: it can show a byte of it, or mounts it from another of its
    /// repositories, or receives it.
    Blob(BlobDescriptor),
    /// The target has the manifest, by its digest.
    Manifest(RawManifest),
    /// The list of referrers is under its tag, unless the target has the API for them.
    Referrers { subject: Digest, tag: String, list: RawManifest },
    /// A tag points at the manifest.
    Tag { tag: String, manifest: RawManifest },
}

/// All steps of one tag's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlan {
    pub steps: Vec<CopyStep>,
    /// The tag's digest afterwards.
    pub result: Digest,
    /// Whether the result is the source's digest.
    pub is_whole: bool,
}

impl CopyPlan {
    /// Bytes of all blobs, if the target has none of them.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        self.blobs().map(|blob| blob.size).fold(0, u64::saturating_add)
    }

    /// All blobs, each once.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobDescriptor> {
        let mut known = BTreeSet::new();
        let blobs = self.steps.iter().filter_map(|step| match step {
            CopyStep::Blob(blob) => Some(blob),
            _ => None,
        });
        blobs.filter(move |blob| known.insert(&blob.digest))
    }
}

/// The tags that steps write, besides that of the image itself.
#[must_use]
pub fn companion_tags(steps: &[CopyStep], tag: &str) -> BTreeSet<String> {
    let written = steps.iter().filter_map(|step| match step {
        CopyStep::Tag { tag, .. } | CopyStep::Referrers { tag, .. } => Some(tag),
        CopyStep::Blob(_) | CopyStep::Manifest(_) => None,
    });
    written.filter(|written| *written != tag).cloned().collect()
}

/// The steps for documents about an image that the target has.
#[must_use]
pub fn companion_steps(companions: &[Companion]) -> Vec<CopyStep> {
    companions.iter().flat_map(steps_of).collect()
}

/// Plans the copy of an image with what was found about it.
///
/// # Errors
/// `unsigned`: the rule requires a signature, and there is none.
pub fn plan(
    rule: &MirrorRule,
    tag: &str,
    image: &ManifestTree,
    companions: &[Companion],
) -> Result<CopyPlan, CopyError> {
    let Some(root) = image.root() else {
        return Err(CopyError::nonsense(format!("{}:{tag} has no manifest", rule.from)));
    };
    if rule.signatures == SignatureMode::Require && !is_signed(image, companions) {
        let detail = format!("{}:{tag} has no signature", rule.from);
        return Err(CopyError::refused(MirrorRefusal::Unsigned, detail));
    }
    let companions = match rule.signatures {
        SignatureMode::Ignore => &[],
        SignatureMode::Copy | SignatureMode::Require => companions,
    };
    let mut steps = content(image);
    for companion in companions.iter().filter(|it| is_copied(image, it)) {
        steps.extend(steps_of(companion));
    }
    steps.push(CopyStep::Tag { tag: tag.to_owned(), manifest: root.clone() });
    Ok(CopyPlan { steps, result: root.digest.clone(), is_whole: image.is_whole() })
}

/// Whether the subject of a companion is copied: the root of a subset is not.
fn is_copied(image: &ManifestTree, companion: &Companion) -> bool {
    image.manifests().any(|manifest| manifest.digest == companion.subject)
}

/// Blobs, then manifests.
fn content(tree: &ManifestTree) -> Vec<CopyStep> {
    let blobs = tree.blobs().into_iter().cloned().map(CopyStep::Blob);
    blobs.chain(tree.manifests().cloned().map(CopyStep::Manifest)).collect()
}

fn steps_of(companion: &Companion) -> Vec<CopyStep> {
    let mut steps = content(&companion.tree);
    let Some(root) = companion.tree.root().cloned() else { return steps };
    let tag = companion.tag.clone();
    match companion.place {
        CompanionPlace::CosignTag => steps.push(CopyStep::Tag { tag, manifest: root }),
        CompanionPlace::Referrers => {
            // The list is made for the target, so it is not put there by its digest.
            steps.pop();
            let subject = companion.subject.clone();
            steps.push(CopyStep::Referrers { subject, tag, list: root });
        }
    }
    steps
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
