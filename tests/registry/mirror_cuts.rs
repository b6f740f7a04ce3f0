//! A copy that ends before each of its requests or in the middle of it, and is begun again. At each
//! moment what the tag points at is complete.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pilotfish::core::docker::reference::Digest;
use pilotfish::core::mirror::companions::{cosign_tags, fallback_tag};
use pilotfish::core::mirror::manifest_tree::{BlobDescriptor, RawManifest, TreeBuilder};
use pilotfish::core::mirror::memory::RuleMemory;
use pilotfish::core::mirror::refusal::CopyError;
use pilotfish::core::mirror::rule::{RepositoryName, TagSelection};
use pilotfish::mirror::RuleRun;
use pilotfish::registry::HttpRegistry;
use pilotfish::registry::transfer::{Flow, OpenUpload, StoredManifest, Transfer, UploadStart};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::mirror_rules::Pair;

/// How long a request runs that is ended in the middle. On loopback it needs a few milliseconds.
const MOMENT: Duration = Duration::from_millis(1);

/// The client, which ends the run at one request. Even numbers end it before the request, which is
/// after the one before; odd ones end it in the middle.
struct EndsAt<'a> {
    client: &'a HttpRegistry,
    number: AtomicUsize,
    end: usize,
    /// The run stands at its end.
    stands: Notify,
}

impl EndsAt<'_> {
    async fn stand<T>(&self) -> T {
        self.stands.notify_one();
        std::future::pending().await
    }

    async fn ask<T>(
        &self,
        asking: impl Future<Output = Result<T, CopyError>>,
    ) -> Result<T, CopyError> {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        if number * 2 == self.end {
            return self.stand().await;
        }
        if number * 2 + 1 == self.end {
            drop(timeout(MOMENT, asking).await);
            return self.stand().await;
        }
        asking.await
    }
}

/// The client lives as long as the test.
impl Transfer for EndsAt<'static> {
    async fn digest_of(&self, at: &RepositoryName, tag: &str) -> Result<Option<Digest>, CopyError> {
        self.ask(self.client.digest_of(at, tag)).await
    }

    async fn manifest(&self, at: &RepositoryName, of: &Digest) -> Result<RawManifest, CopyError> {
        self.ask(self.client.manifest(at, of)).await
    }

    async fn referrers(
        &self,
        at: &RepositoryName,
        subject: &Digest,
    ) -> Result<Option<RawManifest>, CopyError> {
        self.ask(self.client.referrers(at, subject)).await
    }

    async fn tags(&self, at: &RepositoryName) -> Result<Vec<String>, CopyError> {
        self.ask(self.client.tags(at)).await
    }

    async fn has_blob(
        &self,
        at: &RepositoryName,
        blob: &BlobDescriptor,
    ) -> Result<bool, CopyError> {
        self.ask(self.client.has_blob(at, blob)).await
    }

    async fn begin_upload(
        &self,
        to: &RepositoryName,
        blob: &BlobDescriptor,
        mount_from: Option<&str>,
    ) -> Result<UploadStart, CopyError> {
        self.ask(self.client.begin_upload(to, blob, mount_from)).await
    }

    async fn send_blob(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        upload: Box<OpenUpload>,
        blob: &BlobDescriptor,
        flow: &Flow,
    ) -> Result<(), CopyError> {
        self.ask(self.client.send_blob(from, to, upload, blob, flow)).await
    }

    async fn put_manifest(
        &self,
        to: &RepositoryName,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Result<StoredManifest, CopyError> {
        self.ask(self.client.put_manifest(to, tag, manifest)).await
    }

    async fn delete(&self, at: &RepositoryName, digest: &Digest) -> Result<(), CopyError> {
        self.ask(self.client.delete(at, digest)).await
    }
}

/// Whether everything below a tag of the target is there.
pub async fn is_complete(client: &HttpRegistry, at: &RepositoryName, tag: &str) -> bool {
    let Some(digest) = client.digest_of(at, tag).await.expect("an answer") else { return true };
    let mut tree = TreeBuilder::new(digest, &[]);
    while let Some(next) = tree.next().cloned() {
        let Ok(raw) = client.manifest(at, &next).await else { return false };
        tree.add(raw).expect("a manifest");
    }
    let tree = tree.finish().expect("complete");
    for blob in tree.blobs() {
        if !client.has_blob(at, blob).await.expect("an answer") {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_copy_may_end_at_every_request() {
    let mut pair = Pair::start();
    pair.rule.tags = TagSelection::Named(vec!["v1".to_owned()]);
    let first = pair.publish_for("v1", &["linux/arm64"]).await;
    pair.sign(&first).await;
    let client: &'static HttpRegistry = Box::leak(Box::new(crate::support::client(
        &crate::support::settings(pair.directory.path()),
    )));
    let mut ends = 0;
    for round in 0.. {
        // Each round copies to a repository of its own, from the first request on.
        pair.rule.to.repository = format!("copy/{round}");
        let (number, stands) = (AtomicUsize::new(0), Notify::new());
        let registry = EndsAt { client, number, end: round, stands };
        let mount = Some("copy/0".to_owned());
        let run = RuleRun { mount, ..RuleRun::new(&registry, &pair.rule) };
        let mut memory = RuleMemory::new(&pair.rule);
        let ended = tokio::select! {
            _ = run.run(&mut memory) => false,
            () = registry.stands.notified() => true,
        };
        assert!(is_complete(client, &pair.rule.to, "v1").await, "round {round}");
        // The tag is the last: with it the signatures are there.
        let is_signed = pair.at_target(&fallback_tag(&first)).await.is_some();
        assert!(pair.at_target("v1").await.is_none() || is_signed, "round {round}");
        if !ended {
            break;
        }
        ends += 1;
        let report = pair.run(&mut RuleMemory::new(&pair.rule)).await;
        assert!(report.tags[0].outcome.is_ok(), "round {round}: {:?}", report.tags[0]);
        assert_eq!(pair.at_target("v1").await, Some(first.clone()), "round {round}");
        assert!(pair.at_target(&cosign_tags(&first)[0]).await.is_some(), "round {round}");
        assert!(pair.at_target(&fallback_tag(&first)).await.is_some(), "round {round}");
        assert!(is_complete(client, &pair.rule.to, "v1").await, "round {round}");
    }
    assert!(ends > 50, "only {ends} ends were tried");
}
