//! The steps of a plan, one after the other.

use std::collections::BTreeSet;

use crate::core::decide::reason::Reason;
use crate::core::docker::reference::Digest;
use crate::core::mirror::companions::merged_referrers;
use crate::core::mirror::manifest_tree::{BlobDescriptor, RawManifest};
use crate::core::mirror::plan::CopyStep;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::mirror::again::again;
use crate::mirror::listener::MirrorEvent;
use crate::mirror::run::RuleRun;
use crate::registry::transfer::{StoredManifest, Transfer, UploadStart};

/// How often a blob is sent whose target broke. An upload whose connection broke is lost on
/// distribution 2.8, so each time all of it is sent.
const UPLOADS_MAX: usize = 3;

/// Carries out steps between the two repositories of a rule.
pub(super) struct Steps<'a, T> {
    pub run: &'a RuleRun<'a, T>,
}

impl<T: Transfer> Steps<'_, T> {
    /// Does all steps, in their order.
    pub async fn carry_out(&self, steps: &[CopyStep]) -> Result<(), CopyError> {
        let mut there = BTreeSet::new();
        // Whether the target lists a manifest under its subject by itself.
        let mut has_api = false;
        for step in steps {
            match step {
                CopyStep::Blob(blob) => {
                    if there.insert(&blob.digest) {
                        self.blob(blob).await?;
                        self.run.tell(&MirrorEvent::BlobDone { bytes: blob.size });
                    }
                }
                CopyStep::Manifest(raw) => {
                    let stored = self.put(None, raw).await?;
                    has_api = stored.has_referrers_api;
                }
                CopyStep::Referrers { tag, list, .. } if !has_api => {
                    self.referrers(tag, list).await?;
                }
                CopyStep::Referrers { .. } => {}
                CopyStep::Tag { tag, manifest } => {
                    self.put(Some(tag), manifest).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the target has a blob.
    async fn blob(&self, blob: &BlobDescriptor) -> Result<(), CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        let (from, to) = (&rule.from, &rule.to);
        let mut mount = self.run.mount.as_deref();
        let mut uploads = 0;
        // A registry may mount a blob that its garbage collection removed, so a mount is checked.
        // And an upload that failed may have lost a race with another mirror, which sent the blob.
        while !registry.has_blob(to, blob).await? {
            // Before the upload begins: a registry may forget one that waits.
            let _turn = self.run.turns.take().await;
            // A registry that does not mount awaits the content.
            let begun = registry.begin_upload(to, blob, mount.take()).await?;
            let UploadStart::Open(upload) = begun else { continue };
            uploads += 1;
            match registry.send_blob(from, to, upload, blob, &self.run.flow).await {
                Ok(()) => break,
                Err(error) if may_pass(&error) && uploads < UPLOADS_MAX => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Result<StoredManifest, CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        again(|| registry.put_manifest(&rule.to, tag, manifest)).await
    }

    /// Adds the referrers to those that the target has under the same tag.
    async fn referrers(&self, tag: &str, list: &RawManifest) -> Result<(), CopyError> {
        let RuleRun { registry, rule, .. } = *self.run;
        let known: Option<Digest> = again(|| registry.digest_of(&rule.to, tag)).await?;
        let there = match &known {
            Some(digest) => Some(registry.manifest(&rule.to, digest).await?),
            None => None,
        };
        let merged = merged_referrers(there.as_ref().map(|raw| raw.bytes.as_ref()), list);
        if known.as_ref() != Some(&merged.digest) {
            self.put(Some(tag), &merged).await?;
        }
        Ok(())
    }
}

/// Whether a failure may be gone at the next try: a broken connection, or a target that found other
/// content than was sent. Distribution 2.8 answers so to one of two uploads of a blob at once.
fn may_pass(error: &CopyError) -> bool {
    let is_broken = matches!(
        error, CopyError::Failed(failure) if failure.reason == Reason::RegistryUnreachable
    );
    is_broken || error.is(MirrorRefusal::TargetLies)
}
