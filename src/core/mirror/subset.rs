//! The smaller index of a rule that wants some platforms. It is another document, with another
//! digest.

use bytes::Bytes;
use serde_json::Value;

use crate::core::docker::reference::{Digest, Platform};
use crate::core::mirror::manifest_tree::RawManifest;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};

/// The annotation with which BuildKit ties an attestation to its image.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// Most platforms named in the sentence about a missing one.
const PLATFORMS_NAMED_MAX: usize = 12;

/// The index with the wanted platforms and their attestations. All other fields stay. An image
/// without an index has one platform and stays as it is.
///
/// # Errors
/// `platform_missing`, or something else than an index.
pub(super) fn of_platforms(
    raw: RawManifest,
    wanted: &[Platform],
) -> Result<RawManifest, CopyError> {
    if !raw.is_index() {
        return Ok(raw);
    }
    let unreadable = || CopyError::nonsense(format!("{} is no index", raw.digest.short()));
    let mut index: Value = serde_json::from_slice(&raw.bytes).map_err(|_| unreadable())?;
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
    let entries = entries.ok_or_else(unreadable)?;
    for platform in wanted {
        if !entries.iter().any(|entry| is_for(entry, platform)) {
            return Err(missing(platform, entries));
        }
    }
    let is_wanted = |entry: &Value| wanted.iter().any(|platform| is_for(entry, platform));
    let kept = entries.iter().filter(|entry| is_wanted(entry)).filter_map(digest_of);
    let kept: Vec<String> = kept.map(str::to_owned).collect();
    let before = entries.len();
    entries.retain(|entry| {
        is_wanted(entry) || attested(entry).is_some_and(|it| kept.iter().any(|kept| kept == it))
    });
    if entries.len() == before {
        return Ok(raw);
    }
    let bytes = Bytes::from(index.to_string());
    Ok(RawManifest { digest: Digest::of(&bytes), bytes, ..raw })
}

fn digest_of(entry: &Value) -> Option<&str> {
    entry["digest"].as_str()
}

fn attested(entry: &Value) -> Option<&str> {
    entry["annotations"][ATTESTED].as_str()
}

fn platform_of(entry: &Value) -> Option<Platform> {
    serde_json::from_value(entry.get("platform")?.clone()).ok()
}

fn is_for(entry: &Value, wanted: &Platform) -> bool {
    platform_of(entry).is_some_and(|offered| wanted.accepts(&offered))
}

fn missing(wanted: &Platform, entries: &[Value]) -> CopyError {
    let named = entries.iter().filter_map(platform_of).filter(|it| it.os != "unknown");
    let named: Vec<_> = named.take(PLATFORMS_NAMED_MAX).map(|it| it.to_string()).collect();
    let instead = if named.is_empty() { "nothing".to_owned() } else { named.join(", ") };
    let detail = format!("the source has no image for {wanted}; it has {instead}");
    CopyError::refused(MirrorRefusal::PlatformMissing, detail)
}
