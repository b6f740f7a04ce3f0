// The fuzzed parsers: everything that reads data of other programs. Each must end without a
// panic and without losing what it read; `tests/corpus.rs` reads the corpus with the same functions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pilotfish::broker;
use pilotfish::core::archive::thin::{DeviceLayers, ThinArchive};
use pilotfish::core::archive::{ArchiveIntake, ArchiveLimits, ArchivedImage};
use pilotfish::core::docker::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Document, OCI_INDEX, OCI_MANIFEST, candidates,
    parse_configuration, parse_document,
};
use pilotfish::core::docker::reference::{Digest, Platform, Reference};
use pilotfish::core::docker::webhook::{self, SenderKind, WebhookContent};
use pilotfish::core::fleet::message::Incoming;
use pilotfish::core::fleet::names::FleetName;
use pilotfish::core::fleet::topic::Topics;
use pilotfish::core::mirror::companions::{listed_referrers, merged_referrers};
use pilotfish::core::mirror::manifest_tree::{RawManifest, TreeBuilder};
use pilotfish::core::mirror::plan::{CopyPlan, CopyStep, plan};
use pilotfish::core::mirror::rule::{MirrorRule, RepositoryName, TagSelection};
use pilotfish::core::mirror::tag_expression::TagExpression;
use pilotfish::registry::fuzzing;

/// Parses data of another program.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const ALL: [(&str, Target); 9] = [
    ("reference", reference),
    ("challenge", challenge),
    ("manifest", manifest),
    ("docker_config", docker_config),
    ("notification", notification),
    ("packet", packet),
    ("message", message),
    ("image_tree", image_tree),
    ("archive", archive),
];

/// A parsed reference, printed and parsed again, is the same.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(read) = text.parse::<Reference>() else { return };
    assert_eq!(read.to_string().parse().as_ref(), Ok(&read), "{text:?} became {read}");
}

/// `WWW-Authenticate`.
pub fn challenge(bytes: &[u8]) {
    fuzzing::challenge(bytes);
}

/// Manifests, indexes and configurations.
pub fn manifest(bytes: &[u8]) {
    let wanted = Platform { os: "linux".into(), architecture: "arm".into(), variant: "v7".into() };
    if let Ok(Document::Index(entries)) = parse_document(bytes) {
        assert!(candidates(&entries, &wanted).len() <= entries.len());
    }
    drop(parse_configuration(bytes));
}

/// Docker's `config.json`.
pub fn docker_config(bytes: &[u8]) {
    for registry in ["docker.io", "registry:443", "[::1]:5000"] {
        fuzzing::docker_config(bytes, registry);
    }
}

/// Webhooks, read as those of every kind of sender.
pub fn notification(bytes: &[u8]) {
    for kind in SenderKind::ALL {
        let Ok(read) = webhook::parse(kind, bytes) else { continue };
        let WebhookContent::Pushed(pushed) = read.content else { continue };
        assert!(pushed.len() <= webhook::PUSHES_MAX);
        // `auto` knows it too; it may take it for another kind, and refuse it.
        assert_ne!(webhook::parse(SenderKind::Auto, bytes), Err(webhook::WebhookError::Unknown));
    }
}

/// What an MQTT broker sends.
pub fn packet(bytes: &[u8]) {
    broker::fuzzing::packets(bytes);
}

/// Messages of a fleet: the first line is the topic, the rest is the payload. A topic that is read
/// has the same name when it is written.
pub fn message(bytes: &[u8]) {
    let Ok(fleet) = "home".parse::<FleetName>() else { return };
    let (topics, mut parts) = (Topics::new(&fleet), bytes.splitn(2, |byte| *byte == b'\n'));
    let (Some(name), Some(payload)) = (parts.next(), parts.next()) else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    let Some(topic) = topics.parse(name) else { return };
    assert_eq!(topics.name(&topic), name);
    drop(Incoming::read(&topic, payload));
}

/// The manifests of an image to mirror, separated by lines of `---`; the last one is the root. In a
/// plan the tag is the last, and nothing is written before what it names.
pub fn image_tree(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (expression, text) = text.split_once('\n').unwrap_or(("", text));
    let documents: Vec<_> = text.split("\n---\n").map(raw_manifest).collect();
    let by_digest: BTreeMap<_, _> = documents.iter().map(|raw| (raw.digest.clone(), raw)).collect();
    let Some(root) = documents.last() else { return };
    let wanted = Platform { os: "linux".into(), architecture: "arm".into(), variant: "v7".into() };
    let list = merged_referrers(Some(&documents[0].bytes), root);
    let listed = listed_referrers(&list.bytes);
    assert!(listed_referrers(&root.bytes).is_subset(&listed), "a referrer is lost");
    for platforms in [vec![], vec![wanted]] {
        let mut tree = TreeBuilder::new(root.digest.clone(), &platforms);
        while let Some(raw) = tree.next().and_then(|digest| by_digest.get(digest)) {
            if tree.add((*raw).clone()).is_err() {
                return;
            }
        }
        let Some(image) = tree.finish() else { return };
        let repository = |text: &str| text.parse::<Reference>().map(RepositoryName::from);
        let (Ok(from), Ok(to)) = (repository("a/b"), repository("r:1/a/b")) else { return };
        let mut rule = MirrorRule::new(from, to);
        rule.platforms = platforms;
        rule.immutable = TagExpression::parse(expression).ok().map(TagSelection::Matching);
        let Ok(plan) = plan(&rule, "v1", &image, &[]) else { return };
        check_order(&plan);
    }
}

fn raw_manifest(text: &str) -> RawManifest {
    let kind = [OCI_INDEX, DOCKER_INDEX, DOCKER_MANIFEST].into_iter().find(|it| text.contains(it));
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let media_type = kind.unwrap_or(OCI_MANIFEST).to_owned();
    RawManifest { digest: Digest::of(&bytes), media_type, bytes }
}

fn check_order(plan: &CopyPlan) {
    let mut written = BTreeSet::new();
    for step in &plan.steps {
        match step {
            CopyStep::Blob(blob) => drop(written.insert(blob.digest.clone())),
            CopyStep::Manifest(raw) => {
                if let Ok(Document::Index(entries)) = parse_document(&raw.bytes) {
                    let is_there = |digest: &Digest| written.contains(digest);
                    assert!(entries.iter().all(|entry| is_there(&entry.digest)), "{raw:?}");
                }
                written.insert(raw.digest.clone());
            }
            CopyStep::Referrers { .. } => {}
            CopyStep::Tag { manifest, .. } => assert!(written.contains(&manifest.digest)),
        }
    }
    assert!(matches!(plan.steps.last(), Some(CopyStep::Tag { .. })), "the tag is the last");
}

/// An upload of an image archive. What the Engine would get is read again as the same image, and
/// written again with the same bytes. Neither the size of the pieces nor gzip makes a difference,
/// and an archive without the layers of a device names the same image.
pub fn archive(bytes: &[u8]) {
    let read = read_archive(bytes, 777);
    assert!(read_archive(bytes, 1) == read, "the size of the pieces makes a difference");
    let Some((image, written)) = &read else { return };
    assert!(read_archive(written, 777) == read, "it is not written plainly");
    assert!(read_archive(&gzip(written), 777) == read, "gzip makes a difference");
    for is_containerd in [false, true] {
        let layers = if is_containerd { &image.blobs } else { &image.diff_ids };
        let layers = layers.iter().map(ToString::to_string).collect();
        let device = DeviceLayers { layers, is_containerd };
        let mut file = Cursor::new(written);
        let Some(thin) = ThinArchive::of(&mut file, &device) else { continue };
        let index = |at: u64| usize::try_from(at).expect("an index");
        let parts = thin.parts.iter().map(|part| &written[index(part.start)..index(part.end)]);
        let sent: Vec<u8> = parts.flatten().copied().collect();
        assert!(sent.len() < written.len() && sent.len() as u64 == thin.size());
        let (read, _) = read_archive(&sent, 777).expect("a part of it is an archive");
        assert_eq!(&read, image, "without its layers it is another image");
    }
}

/// The bytes in gzip, without compression, so that the limit for bombs does not count.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn read_archive(bytes: &[u8], size: usize) -> Option<(ArchivedImage, Vec<u8>)> {
    let (mut intake, mut written) = (ArchiveIntake::new(ArchiveLimits::default()), Vec::new());
    for piece in bytes.chunks(size) {
        intake.take(piece).ok()?;
        // It has nothing until it knows the format.
        intake.out().into_iter().for_each(|out| written.append(out));
    }
    let image = intake.finish().ok()?;
    written.append(intake.out()?);
    Some((image, written))
}
