//! Rules of the mirror between two real registries.

use std::path::Path;

use pilotfish::core::docker::manifest::{OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;
use pilotfish::core::mirror::companions::{cosign_tags, fallback_tag};
use pilotfish::core::mirror::memory::RuleMemory;
use pilotfish::core::mirror::rule::{MirrorRule, SignatureMode, TagSelection};
use pilotfish::core::mirror::scope::RunScope;
use pilotfish::core::mirror::tag_expression::TagExpression;
use pilotfish::mirror::{RuleReport, RuleRun, TagOutcome};
use pilotfish::registry::HttpRegistry;
use pilotfish::registry::transfer::Transfer as _;
use tempfile::{TempDir, tempdir};

use crate::images::{Image, descriptor, index, index_of};
use crate::real::{Real, Setup};
use crate::support::{client, platform, settings};
use crate::transfer::{at, stored};

/// Two registries, a client, and a rule from `shop/till` of one to `copy/till` of the other.
pub struct Pair {
    pub directory: TempDir,
    pub source: Real,
    pub target: Real,
    pub client: HttpRegistry,
    pub rule: MirrorRule,
}

impl Pair {
    pub fn start() -> Self {
        let directory = tempdir().expect("a directory");
        let source = Real::plain(&directory.path().join("source"));
        let target = target(directory.path());
        let client = client(&settings(directory.path()));
        let (from, to) = (at(&source.registry, "shop/till"), at(&target.registry, "copy/till"));
        let rule = MirrorRule::new(from, to);
        Self { directory, source, target, client, rule }
    }

    /// Publishes an image for two platforms, and returns the digest of its index.
    pub async fn publish(&self, tag: &str) -> Digest {
        self.publish_for(tag, &["linux/arm/v7", "linux/arm64/v8"]).await
    }

    pub async fn publish_for(&self, tag: &str, platforms: &[&str]) -> Digest {
        let images: Vec<_> = platforms.iter().map(|platform| Image::new(tag, platform)).collect();
        for image in &images {
            self.source.push_image("shop/till", image).await;
        }
        let document = index(OCI_INDEX, &images.iter().collect::<Vec<_>>());
        self.source.push_manifest("shop/till", tag, OCI_INDEX, &document).await
    }

    /// Signs a digest as cosign 2 does, and with a list of referrers as cosign 3 does.
    pub async fn sign(&self, subject: &Digest) {
        let signature = Image::new(&format!("signature of {subject}"), "linux/arm64");
        self.source.push_image("shop/till", &signature).await;
        let [tag, ..] = cosign_tags(subject);
        let (kind, content) = (signature.media_type, &signature.manifest);
        self.source.push_manifest("shop/till", &tag, kind, content).await;
        let list = index_of(OCI_INDEX, &[descriptor(kind, content, None)]);
        let tag = fallback_tag(subject);
        self.source.push_manifest("shop/till", &tag, OCI_INDEX, &list).await;
    }

    pub async fn run(&self, memory: &mut RuleMemory) -> RuleReport {
        RuleRun::new(&self.client, &self.rule).run(memory).await
    }

    /// A run that looks for documents that came after their image.
    pub async fn run_late(&self, memory: &mut RuleMemory) -> RuleReport {
        let scope = RunScope { is_thorough: true, ..RunScope::ALL };
        RuleRun { scope, ..RuleRun::new(&self.client, &self.rule) }.run(memory).await
    }

    /// What a tag of the source points at.
    pub async fn client_digest(&self, tag: &str) -> Digest {
        let digest = self.client.digest_of(&self.rule.from, tag).await.expect("an answer");
        digest.expect("the tag")
    }

    pub async fn at_target(&self, tag: &str) -> Option<Digest> {
        self.client.digest_of(&self.rule.to, tag).await.expect("an answer")
    }
}

fn target(directory: &Path) -> Real {
    let storage = "  delete:\n    enabled: true\n";
    Real::start(&directory.join("target"), &Setup { storage, ..Setup::default() })
}

/// `tag=outcome` of each tag, then what was deleted.
fn words(report: &RuleReport) -> String {
    let word = |outcome: &_| match outcome {
        Ok(TagOutcome::UpToDate) => "same".to_owned(),
        Ok(TagOutcome::DocumentsCopied { count }) => format!("documents:{count}"),
        Ok(TagOutcome::Copied { is_whole: true, .. }) => "copied".to_owned(),
        Ok(TagOutcome::Copied { is_whole: false, .. }) => "part".to_owned(),
        Err(error) => pilotfish::core::mirror::refusal::CopyError::word(error).to_owned(),
    };
    let tags = report.tags.iter().map(|it| format!("{}={}", it.tag, word(&it.outcome)));
    let deleted = report.deleted.iter().map(|tag| format!("-{tag}"));
    tags.chain(deleted).collect::<Vec<_>>().join(" ")
}

fn named(tags: &[&str]) -> TagSelection {
    TagSelection::Named(tags.iter().map(|tag| (*tag).to_owned()).collect())
}

#[tokio::test]
async fn a_signed_image_is_copied_once_and_then_asked_for_by_two_heads() {
    let mut pair = Pair::start();
    pair.rule.tags = named(&["v1", "none"]);
    pair.rule.signatures = SignatureMode::Require;
    let digest = pair.publish("v1").await;
    let mut memory = RuleMemory::new(&pair.rule);
    assert_eq!(words(&pair.run(&mut memory).await), "v1=unsigned none=not_found");
    assert_eq!(pair.at_target("v1").await, None);
    pair.sign(&digest).await;
    let report = pair.run(&mut memory).await;
    assert_eq!(words(&report), "v1=copied none=not_found");
    assert!(report.has_news && report.error.is_none());
    assert_eq!(pair.at_target("v1").await, Some(digest.clone()));
    for tag in [cosign_tags(&digest)[0].clone(), fallback_tag(&digest)] {
        let there = pair.client.digest_of(&pair.rule.from, &tag).await.expect("an answer");
        assert_eq!(pair.at_target(&tag).await, there, "{tag}");
    }
    pair.rule.tags = named(&["v1"]);
    let before = (pair.source.settled(), pair.target.settled());
    let report = pair.run(&mut memory).await;
    assert_eq!((words(&report).as_str(), report.has_news), ("v1=same", false));
    let more = (pair.source.settled() - before.0, pair.target.settled() - before.1);
    assert_eq!(more, (1, 1));
}

#[tokio::test]
async fn a_signature_that_came_later_is_copied_once() {
    let mut pair = Pair::start();
    pair.rule.tags = named(&["v1"]);
    let digest = pair.publish("v1").await;
    let mut memory = RuleMemory::new(&pair.rule);
    assert_eq!(words(&pair.run_late(&mut memory).await), "v1=copied");
    assert_eq!(words(&pair.run_late(&mut memory).await), "v1=same");
    pair.sign(&digest).await;
    assert_eq!(words(&pair.run(&mut memory).await), "v1=same", "nobody looked for it");
    assert_eq!(words(&pair.run_late(&mut memory).await), "v1=documents:2");
    for tag in [cosign_tags(&digest)[0].clone(), fallback_tag(&digest)] {
        let there = pair.client.digest_of(&pair.rule.from, &tag).await.expect("an answer");
        assert!(there.is_some() && pair.at_target(&tag).await == there, "{tag}");
    }
    assert_eq!(words(&pair.run_late(&mut memory).await), "v1=same");
}

#[tokio::test]
async fn a_part_of_the_platforms_is_an_index_of_its_own() {
    let mut pair = Pair::start();
    pair.rule.tags = named(&["v1"]);
    pair.rule.platforms = vec![platform("linux/arm64")];
    pair.rule.immutable = Some(named(&["v1"]));
    let digest = pair.publish("v1").await;
    let mut memory = RuleMemory::new(&pair.rule);
    assert_eq!(words(&pair.run(&mut memory).await), "v1=part");
    let written = pair.at_target("v1").await.expect("a tag");
    assert_ne!(written, digest);
    assert_eq!(words(&pair.run(&mut memory).await), "v1=same");
    // Without the memory the subset is made again, and is the same.
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v1=same");
    pair.rule.platforms = vec![platform("linux/riscv64")];
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v1=platform_missing");
    // The source moves a tag that must not move.
    let other = Image::new("other", "linux/arm64");
    pair.source.push_image("shop/till", &other).await;
    pair.source.push_manifest("shop/till", "v1", OCI_MANIFEST, &other.manifest).await;
    pair.rule.platforms = Vec::new();
    assert_eq!(words(&pair.run(&mut memory).await), "v1=tag_moved");
    assert_eq!(pair.at_target("v1").await, Some(written));
}

#[tokio::test]
async fn old_tags_of_the_mirror_are_deleted_and_nothing_else() {
    let mut pair = Pair::start();
    let expression = TagExpression::parse("^v").expect("an expression");
    pair.rule.tags = TagSelection::Matching(expression);
    pair.rule.keep = 2;
    let mut memory = RuleMemory::new(&pair.rule);
    let mut first = None;
    for (tag, expected) in
        [("v1", "v1=copied"), ("v2", "v2=copied v1=same"), ("v3", "v3=copied v2=same -v1")]
    {
        let digest = pair.publish(tag).await;
        pair.sign(&digest).await;
        assert_eq!(words(&pair.run(&mut memory).await), expected);
        first.get_or_insert(digest);
    }
    assert_eq!(words(&pair.run(&mut memory).await), "v3=same v2=same");
    assert_eq!(pair.at_target("v1").await, None);
    let tag = fallback_tag(&first.expect("v1"));
    assert_eq!(pair.at_target(&tag).await, None, "its signatures are gone too");
    let child = Image::new("v1", "linux/arm/v7").digest();
    assert_eq!(pair.at_target(child.as_str()).await, None, "and the images of its index");
    assert!(pair.at_target("v2").await.is_some() && pair.at_target("v3").await.is_some());
}

#[tokio::test]
async fn of_many_tags_only_the_newest_are_copied_and_stay() {
    let mut pair = Pair::start();
    pair.rule.tags = TagSelection::Matching(TagExpression::parse("^v").expect("an expression"));
    pair.rule.keep = 2;
    for tag in ["v9", "v10", "v11"] {
        pair.publish(tag).await;
    }
    let mut memory = RuleMemory::new(&pair.rule);
    for expected in ["v11=copied v10=copied", "v11=same v10=same"] {
        assert_eq!(words(&pair.run(&mut memory).await), expected);
    }
    // A push of an old tag is not copied, because it would be deleted again.
    let tags = Some(["v9".to_owned()].into());
    let scope = RunScope { tags, is_thorough: true };
    let run = RuleRun { scope, ..RuleRun::new(&pair.client, &pair.rule) };
    assert_eq!(words(&run.run(&mut memory).await), "");
}

#[tokio::test]
async fn two_mirrors_at_once_do_not_disturb_each_other() {
    let mut pair = Pair::start();
    pair.rule.tags = named(&["v1", "v2"]);
    let (first, second) = (pair.publish("v1").await, pair.publish("v2").await);
    pair.sign(&first).await;
    for round in 0..10 {
        pair.rule.to.repository = format!("copy/{round}");
        let (mut one, mut other) = (RuleMemory::new(&pair.rule), RuleMemory::new(&pair.rule));
        let (one, other) = tokio::join!(pair.run(&mut one), pair.run(&mut other));
        assert!(one.tags.len() == 2 && other.tags.len() == 2);
        // The target may have answered one of two writes with an error each time; the next run, of
        // one mirror, finds everything there.
        let report = pair.run(&mut RuleMemory::new(&pair.rule)).await;
        let all_good = report.tags.iter().all(|tag| tag.outcome.is_ok());
        assert!(all_good, "round {round}: {one:?} {other:?} {report:?}");
        assert_eq!(pair.at_target("v1").await.as_ref(), Some(&first));
        assert_eq!(pair.at_target("v2").await.as_ref(), Some(&second));
    }
}

/// The garbage collection of a registry with a cache: the bytes go, and the cache does not notice.
#[tokio::test]
async fn content_that_was_collected_is_sent_again() {
    let mut pair = Pair::start();
    let cache = "  cache:\n    blobdescriptor: inmemory\n";
    let directory = pair.directory.path().join("collected");
    let target = Real::start(&directory, &Setup { storage: cache, ..Setup::default() });
    pair.rule.to = at(&target.registry, "copy/till");
    pair.rule.tags = named(&["v1"]);
    let digest = pair.publish("v1").await;
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v1=copied");
    let layer = Digest::of(&Image::new("v1", "linux/arm64/v8").layer);
    std::fs::remove_file(stored(&directory, &layer)).expect("the stored bytes");
    // Another tag of the same content: the registry still vouches for the layer.
    let document = pair.client.manifest(&pair.rule.from, &digest).await.expect("the index");
    pair.source.push_manifest("shop/till", "v2", OCI_INDEX, &document.bytes).await;
    pair.rule.tags = named(&["v2"]);
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v2=copied");
    assert!(stored(&directory, &layer).exists(), "it was sent again");
    // Both tags are up to date, and a close look finds what is gone.
    std::fs::remove_file(stored(&directory, &layer)).expect("the stored bytes");
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v2=same");
    assert_eq!(words(&pair.run_late(&mut RuleMemory::new(&pair.rule)).await), "v2=copied");
    assert!(stored(&directory, &layer).exists(), "it was sent again");
    std::fs::remove_file(stored(&directory, &Digest::of(&document.bytes))).expect("the index");
    // The cache also vouches for a manifest, and the registry does not store it again before its
    // restart: nothing that is said to be copied is missing.
    assert_eq!(words(&pair.run_late(&mut RuleMemory::new(&pair.rule)).await), "v2=target_lies");
    drop(target);
    let target = Real::start(&directory, &Setup { storage: cache, ..Setup::default() });
    pair.rule.to = at(&target.registry, "copy/till");
    assert_eq!(words(&pair.run(&mut RuleMemory::new(&pair.rule)).await), "v2=copied");
    assert_eq!(words(&pair.run_late(&mut RuleMemory::new(&pair.rule)).await), "v2=same");
}
