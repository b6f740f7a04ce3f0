//! The order of a copy.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::core::docker::reference::Reference;
use crate::core::mirror::companions::{cosign_tags, fallback_tag};
use crate::core::mirror::manifest_tree::tests::{entry, for_platform, image, index, tree};

fn rule(signatures: SignatureMode) -> MirrorRule {
    let reference = |text: &str| text.parse::<Reference>().expect("a reference");
    let rule = MirrorRule::new(reference("a/b").into(), reference("r:1/a/b").into());
    MirrorRule { signatures, ..rule }
}

/// One word for each step: the first letters of a digest, or a tag.
fn words(plan: &CopyPlan, names: &[(&Digest, &str)]) -> Vec<String> {
    let name = |digest: &Digest| {
        let known = names.iter().find(|(known, _)| *known == digest);
        known.map_or_else(|| digest.short().to_owned(), |(_, name)| (*name).to_owned())
    };
    let word = |step: &CopyStep| match step {
        CopyStep::Blob(_) => "blob".to_owned(),
        CopyStep::Manifest(raw) => format!("put {}", name(&raw.digest)),
        CopyStep::Referrers { subject, .. } => format!("referrers of {}", name(subject)),
        CopyStep::Tag { tag, manifest } if tag.starts_with("sha256-") => {
            let end = tag.rsplit('.').next().unwrap_or_default();
            format!("tag {end} {}", name(&manifest.digest))
        }
        CopyStep::Tag { tag, manifest } => format!("tag {tag} {}", name(&manifest.digest)),
    };
    plan.steps.iter().map(word).collect()
}

/// An image for two platforms with a signature of each kind.
struct SignedImage {
    documents: Vec<RawManifest>,
    companions: Vec<Companion>,
}

fn signed_image() -> SignedImage {
    let (arm, amd) = (image("arm", &["base", "arm"]), image("amd", &["base", "amd"]));
    let all = index(&[for_platform(&arm, "linux/arm64"), for_platform(&amd, "linux/amd64")]);
    let signature = image("signature", &["payload"]);
    let bundle = image("bundle", &["proof"]);
    let kind: Value = json!({ "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json" });
    let list = index(&[entry(&bundle, &kind)]);
    let [tag, ..] = cosign_tags(&all.digest);
    let of_index = Companion {
        subject: all.digest.clone(),
        place: CompanionPlace::CosignTag,
        tag,
        tree: tree(&[&signature], &[]).expect("a tree"),
    };
    let of_arm = Companion {
        subject: arm.digest.clone(),
        place: CompanionPlace::Referrers,
        tag: fallback_tag(&arm.digest),
        tree: tree(&[&list, &bundle], &[]).expect("a tree"),
    };
    let documents = vec![all, arm, amd, signature, bundle, list];
    SignedImage { documents, companions: vec![of_index, of_arm] }
}

#[test]
fn everything_is_there_before_the_tag() {
    let SignedImage { documents, companions } = signed_image();
    let all: Vec<_> = documents.iter().collect();
    let names = ["index", "arm", "amd", "signature", "bundle", "list"];
    let names: Vec<_> = documents.iter().map(|it| &it.digest).zip(names).collect();
    let whole = tree(&all, &[]).expect("a tree");
    let plan = plan(&rule(SignatureMode::Require), "v1", &whole, &companions).expect("a plan");
    let expected = [
        "blob",
        "blob",
        "blob",
        "blob",
        "blob",
        "put arm",
        "put amd",
        "put index",
        "blob",
        "blob",
        "put signature",
        "tag sig signature",
        "blob",
        "blob",
        "put bundle",
        "referrers of arm",
        "tag v1 index",
    ];
    assert_eq!(words(&plan, &names), expected);
    assert!(plan.is_whole && plan.result == documents[0].digest);
    let sizes = ["base", "arm", "config of arm", "amd", "config of amd", "payload", "proof"];
    let sizes = sizes.iter().chain(&["config of signature", "config of bundle"]);
    assert_eq!(plan.blob_bytes(), sizes.map(|text| text.len() as u64).sum::<u64>());
}

#[test]
fn a_subset_has_the_signatures_of_what_it_holds() {
    let SignedImage { documents, companions } = signed_image();
    let all: Vec<_> = documents.iter().collect();
    let part = tree(&all, &["linux/arm64"]).expect("a tree");
    let plan = plan(&rule(SignatureMode::Copy), "v1", &part, &companions).expect("a plan");
    let put = plan.steps.iter().filter_map(|step| match step {
        CopyStep::Manifest(raw) => Some(raw.digest.clone()),
        _ => None,
    });
    let put: BTreeSet<_> = put.collect();
    let (arm, bundle) = (&documents[1].digest, &documents[4].digest);
    assert_eq!(put, [arm, bundle, &plan.result].into_iter().cloned().collect());
    assert!(!plan.is_whole && plan.result != documents[0].digest);
}

#[test]
fn signatures_are_copied_left_out_or_required() {
    let SignedImage { documents, companions } = signed_image();
    let all: Vec<_> = documents.iter().collect();
    let whole = tree(&all, &[]).expect("a tree");
    let steps = |mode, companions: &[Companion]| {
        plan(&rule(mode), "v1", &whole, companions).map(|plan| plan.steps.len())
    };
    assert_eq!(steps(SignatureMode::Ignore, &companions), Ok(9));
    assert_eq!(steps(SignatureMode::Copy, &companions), Ok(17));
    assert_eq!(steps(SignatureMode::Copy, &[]), Ok(9));
    let unsigned = steps(SignatureMode::Require, &[]).expect_err("unsigned");
    let expected = "docker.io/a/b:v1 has no signature";
    assert_eq!((unsigned.word(), unsigned.to_string().as_str()), ("unsigned", expected));
}
