//! An archive that names the layers of an image and contains none of them. An Engine loads it only
//! if it has all of these layers.

use serde_json::json;

use super::documents::MANIFEST;
use super::header::{BLOCK, EntryKind, padding, write};
use crate::core::docker::reference::Digest;

/// The archive of an image with these unpacked layers and nothing else. It has no name.
#[must_use]
pub fn without_layers(diff_ids: &[Digest]) -> Vec<u8> {
    let ids: Vec<_> = diff_ids.iter().map(Digest::as_str).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": ids });
    let config = json!({ "architecture": "", "os": "linux", "config": {}, "rootfs": rootfs });
    let layers: Vec<_> = (0..ids.len()).map(|number| format!("{number}/layer.tar")).collect();
    let list = json!([{ "Config": "config.json", "RepoTags": null, "Layers": layers }]);
    let mut archive = Vec::new();
    for (name, content) in [("config.json", config.to_string()), (MANIFEST, list.to_string())] {
        let size = content.len() as u64;
        write(&mut archive, name, EntryKind::File, size, "");
        archive.extend_from_slice(content.as_bytes());
        archive.extend((0..padding(size)).map(|_| 0));
    }
    archive.extend([0; 2 * BLOCK]);
    archive
}
