//! Whether the layers of an image fit on the disk.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::core::decide::observation::Readiness;
use crate::core::decide::offer::Offer;

/// Disk space that a compressed layer takes during a pull, as a multiple of its size in the
/// manifest: the download itself, and its content, which gzip makes two to three times smaller.
const UNPACKED_FACTOR: u64 = 4;

/// Bytes that must stay free for all other programs.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// How much space is missing for this offer, in words. `None` if it fits or if the free space is
/// not known.
#[must_use]
pub fn missing(readiness: &Readiness, offer: &Offer) -> Option<String> {
    if readiness.is_pulled {
        return None;
    }
    let free = readiness.free_bytes?;
    let needed = needed(offer, &present(&readiness.image));
    let missing = needed.checked_sub(free).filter(|missing| *missing > 0)?;
    Some(format!(
        "the layers need about {}, {} are free, {} are missing",
        bytes(needed),
        bytes(free),
        bytes(missing)
    ))
}

/// The unpacked layers that the running image already has.
fn present(image: &Value) -> BTreeSet<&str> {
    let layers = image.pointer("/RootFS/Layers").and_then(Value::as_array);
    layers.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn needed(offer: &Offer, present: &BTreeSet<&str>) -> u64 {
    let is_new = |position: usize| {
        offer.diff_ids.get(position).is_none_or(|diff_id| !present.contains(diff_id.as_str()))
    };
    let layers = offer.layers.iter().enumerate().filter(|(position, _)| is_new(*position));
    let compressed = layers.fold(0_u64, |sum, (_, layer)| sum.saturating_add(layer.size));
    compressed.saturating_mul(UNPACKED_FACTOR).saturating_add(RESERVE_BYTES)
}

/// A number of bytes for people: `312 MB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 10_000 && unit + 1 < UNITS.len() {
        value /= 1000;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::decide::offer::{Compression, Layer};
    use crate::core::docker::api_version::ApiVersion;
    use crate::core::docker::reference::{Digest, Platform};

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn offer(sizes: &[(&str, u64)]) -> Offer {
        Offer {
            index: digest("i"),
            manifest: digest("m"),
            config: digest("c"),
            platform: Platform::default(),
            layers: sizes
                .iter()
                .map(|(name, size)| Layer {
                    digest: digest(name),
                    size: *size,
                    packing: Compression::Common,
                })
                .collect(),
            diff_ids: sizes.iter().map(|(name, _)| digest(&format!("un{name}"))).collect(),
            version: None,
        }
    }

    fn readiness(free_bytes: Option<u64>, layers: &[&str]) -> Readiness {
        let layers: Vec<_> = layers.iter().map(|name| digest(&format!("un{name}"))).collect();
        Readiness {
            original: Value::Null,
            image: json!({ "RootFS": { "Layers": layers } }),
            others: Vec::new(),
            can_update: true,
            unpacks_zstd: true,
            depends_on: std::collections::BTreeMap::new(),
            dependent_facts: std::collections::BTreeMap::new(),
            api: ApiVersion::V1_41,
            free_bytes,
            probe: None,
            lock: None,
            declared_files: Vec::new(),
            copied_files: Vec::new(),
            start_needs: Vec::new(),
            is_pulled: false,
            is_prefetched: false,
        }
    }

    #[test]
    fn only_layers_that_are_new_need_room() {
        let offer = offer(&[("base", 1_000_000_000), ("app", 10_000_000)]);
        let room = Some(200_000_000);
        assert_eq!(missing(&readiness(room, &["base"]), &offer), None);
        let text = missing(&readiness(room, &[]), &offer).expect("too little");
        assert_eq!(text, "the layers need about 4107 MB, 200 MB are free, 3907 MB are missing");
    }

    #[test]
    fn unknown_disk_space_holds_no_update() {
        let offer = offer(&[("base", u64::MAX)]);
        assert_eq!(missing(&readiness(None, &[]), &offer), None);
        assert!(
            missing(&readiness(Some(1), &[]), &offer).is_some(),
            "hostile sizes do not overflow"
        );
    }
}
