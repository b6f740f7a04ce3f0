//! Signatures and other documents about an image.

use serde_json::{Value, json};

use super::*;
use crate::core::mirror::manifest_tree::tests::{entry, for_platform, image, index, tree};

fn companion(
    subject: &Digest,
    place: CompanionPlace,
    tag: String,
    root: &RawManifest,
) -> Companion {
    let inside = image("signature", &["payload"]);
    let tree = tree(&[root, &inside], &[]).expect("a tree");
    Companion { subject: subject.clone(), place, tag, tree }
}

fn cosign(subject: &Digest, ending: usize) -> Companion {
    let tag = cosign_tags(subject)[ending].clone();
    companion(subject, CompanionPlace::CosignTag, tag, &image("signature", &["payload"]))
}

fn referrer(subject: &Digest, kind: &str) -> Companion {
    let inside = image("signature", &["payload"]);
    let list = index(&[entry(&inside, &json!({ "artifactType": kind }))]);
    companion(subject, CompanionPlace::Referrers, fallback_tag(subject), &list)
}

#[test]
fn tags_are_made_of_the_digest() {
    let digest = Digest::of(b"x");
    let hex = digest.hex();
    assert_eq!(fallback_tag(&digest), format!("sha256-{hex}"));
    let expected = [".sig", ".att", ".sbom"].map(|end| format!("sha256-{hex}{end}"));
    assert_eq!(cosign_tags(&digest), expected);
}

#[test]
fn an_image_is_signed_as_a_whole_or_each_part() {
    let (arm, amd) = (image("arm", &["a"]), image("amd", &["b"]));
    let note = image("note", &["n"]);
    let unknown = json!({ "platform": { "os": "unknown", "architecture": "unknown" } });
    let entries = [
        for_platform(&arm, "linux/arm64"),
        for_platform(&amd, "linux/amd64"),
        entry(&note, &unknown),
    ];
    let all = index(&entries);
    let documents = [&all, &arm, &amd, &note];
    let whole = tree(&documents, &[]).expect("a tree");
    let part = tree(&documents, &["linux/arm64"]).expect("a tree");
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let table = [
        (&whole, vec![], false),
        (&whole, vec![cosign(&all.digest, 0)], true),
        (&whole, vec![cosign(&all.digest, 1)], false),
        (&whole, vec![referrer(&all.digest, bundle)], true),
        (&whole, vec![referrer(&all.digest, "application/vnd.in-toto+json")], false),
        (&whole, vec![cosign(&arm.digest, 0)], false),
        (&whole, vec![cosign(&arm.digest, 0), referrer(&amd.digest, bundle)], true),
        (&part, vec![cosign(&all.digest, 0)], false),
        (&part, vec![cosign(&arm.digest, 0)], true),
    ];
    for (number, (image, companions, expected)) in table.into_iter().enumerate() {
        assert_eq!(is_signed(image, &companions), expected, "row {number}");
    }
    let single = tree(&[&arm], &[]).expect("a tree");
    assert!(is_signed(&single, &[cosign(&arm.digest, 0)]) && !is_signed(&single, &[]));
}

#[test]
fn referrers_of_other_programs_stay() {
    let (one, two) = (image("one", &[]), image("two", &[]));
    let list = |of: &[&RawManifest]| {
        let entries: Vec<_> = of.iter().map(|it| entry(it, &json!({}))).collect();
        index(&entries)
    };
    let digests = |index: &RawManifest| -> Vec<String> {
        let text = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
        entries(&index.bytes).expect("an index").iter().map(text).collect()
    };
    let copied = list(&[&two]);
    assert_eq!(merged_referrers(None, &copied), copied);
    let both = merged_referrers(Some(&list(&[&one]).bytes), &copied);
    assert_eq!(digests(&both), [one.digest.as_str(), two.digest.as_str()]);
    let there = list(&[&two, &one]);
    assert_eq!(merged_referrers(Some(&there.bytes), &copied), there, "nothing to write");
    assert_eq!(digests(&merged_referrers(Some(b"rubbish"), &copied)), [two.digest.as_str()]);
}
