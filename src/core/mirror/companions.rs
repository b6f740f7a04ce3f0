//! Documents about an image: signatures, attestations, lists of contents. They name it by its
//! digest, so they are found for the index and for each manifest below it.
//!
//! cosign 2 stores them under tags made of the digest; OCI 1.1 has an API for them (`referrers`),
//! and the tag `sha256-HEX` for registries without that API (distribution-spec, "Referrers Tag
//! Schema").

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::core::docker::manifest::OCI_INDEX;
use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::{ManifestTree, RawManifest};

/// The endings of cosign's tags: signature, attestations, list of contents.
const COSIGN_TAGS: [&str; 3] = [".sig", ".att", ".sbom"];

/// Types of artifacts that are signatures: cosign 3 and Notation.
const SIGNATURE_TYPES: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.artifact.sig",
    "application/vnd.cncf.notary.signature",
];

/// The tag for the referrers of a digest: `sha256-HEX`.
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    subject.as_str().replacen(':', "-", 1)
}

/// The tags under which cosign 2 stores documents about a digest. Each is asked for by `HEAD`,
/// which costs no quota; no list of tags is needed.
#[must_use]
pub fn cosign_tags(subject: &Digest) -> [String; 3] {
    let begin = fallback_tag(subject);
    COSIGN_TAGS.map(|end| format!("{begin}{end}"))
}

/// Whether a tag belongs to an image by its digest: `sha256-HEX`, `sha256-HEX.sig`.
#[must_use]
pub fn is_companion_tag(tag: &str) -> bool {
    let Some(rest) = tag.strip_prefix("sha256-") else { return false };
    let hex = rest.split('.').next().unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where a companion was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanionPlace {
    /// Under a tag of cosign 2.
    CosignTag,
    /// In the list of referrers, from the API or from the tag `sha256-HEX`.
    Referrers,
}

/// Documents about one manifest of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// The manifest that they are about.
    pub subject: Digest,
    pub place: CompanionPlace,
    /// The tag at the target: the same as at the source.
    pub tag: String,
    pub tree: ManifestTree,
}

impl Companion {
    /// Whether it holds a signature.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        match self.place {
            CompanionPlace::CosignTag => self.tag.ends_with(COSIGN_TAGS[0]),
            CompanionPlace::Referrers => self.tree.root().is_some_and(lists_a_signature),
        }
    }
}

/// Whether an image counts as signed: the root, or every manifest below it that is no attestation.
/// A subset of an index is another document, so only its manifests can have signatures.
#[must_use]
pub fn is_signed(image: &ManifestTree, companions: &[Companion]) -> bool {
    let signed = |digest: &Digest| {
        companions.iter().any(|companion| companion.subject == *digest && companion.is_signature())
    };
    let Some(root) = image.root() else { return false };
    let images = images_of(root);
    signed(image.source()) && image.is_whole() || !images.is_empty() && images.iter().all(signed)
}

/// The images of an index; the manifest itself if it is none.
fn images_of(root: &RawManifest) -> Vec<Digest> {
    let is_image = |entry: &&Value| entry["platform"]["os"].as_str() != Some("unknown");
    match entries(&root.bytes) {
        Some(entries) => {
            let digests = entries.iter().filter(is_image);
            digests.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
        }
        None => vec![root.digest.clone()],
    }
}

fn lists_a_signature(index: &RawManifest) -> bool {
    let is_signature = |entry: &Value| {
        let kind = entry["artifactType"].as_str().unwrap_or_default();
        SIGNATURE_TYPES.iter().any(|known| kind.starts_with(known))
    };
    entries(&index.bytes).is_some_and(|entries| entries.iter().any(is_signature))
}

fn entries(index: &[u8]) -> Option<Vec<Value>> {
    let mut index: Value = serde_json::from_slice(index).ok()?;
    match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) => Some(entries),
        _ => None,
    }
}

/// The digests in a list of referrers.
#[must_use]
pub fn listed_referrers(list: &[u8]) -> BTreeSet<Digest> {
    let entries = entries(list).unwrap_or_default();
    entries.iter().filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect()
}

/// The index for the tag `sha256-HEX` of the target: the referrers that it has there, and those of
/// the source. Referrers that another program put there stay.
#[must_use]
pub fn merged_referrers(there: Option<&[u8]>, copied: &RawManifest) -> RawManifest {
    let mut all = there.and_then(entries).unwrap_or_default();
    let had = all.len();
    for entry in entries(&copied.bytes).unwrap_or_default() {
        if !all.iter().any(|known| known["digest"] == entry["digest"]) {
            all.push(entry);
        }
    }
    let bytes = match there {
        Some(there) if all.len() == had => Bytes::copy_from_slice(there),
        None => copied.bytes.clone(),
        Some(_) => {
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all });
            Bytes::from(index.to_string())
        }
    };
    RawManifest { digest: Digest::of(&bytes), media_type: OCI_INDEX.to_owned(), bytes }
}

#[cfg(test)]
#[path = "companions_tests.rs"]
mod tests;
