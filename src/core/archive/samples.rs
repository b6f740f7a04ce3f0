//! Archives for tests, as the tools write them.

use std::io::Write as _;

use serde_json::{Value, json};

use super::header::{EntryKind, padding, write};
use crate::core::docker::manifest::{OCI_INDEX, OCI_MANIFEST};
use crate::core::docker::reference::Digest;

/// A tar archive.
#[derive(Clone, Default)]
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
}

impl Archive {
    pub(crate) fn file(mut self, name: &str, content: &[u8]) -> Self {
        let size = content.len() as u64;
        write(&mut self.bytes, name, EntryKind::File, size, "");
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len() + padding(size) as usize, 0);
        self
    }

    pub(crate) fn json(self, name: &str, content: &Value) -> Self {
        self.file(name, content.to_string().as_bytes())
    }

    pub(crate) fn directory(mut self, name: &str) -> Self {
        write(&mut self.bytes, name, EntryKind::Directory, 0, "");
        self
    }

    pub(crate) fn link(mut self, name: &str, target: &str) -> Self {
        write(&mut self.bytes, name, EntryKind::Symlink, 0, target);
        self
    }

    /// An entry of another kind.
    pub(crate) fn other(mut self, letter: u8, name: &str, content: &[u8]) -> Self {
        let begin = self.bytes.len();
        self = self.file(name, content);
        self.bytes[begin + 156] = letter;
        self.bytes[begin + 148..begin + 156].fill(b' ');
        let sum: u64 = self.bytes[begin..begin + 512].iter().map(|byte| u64::from(*byte)).sum();
        self.bytes[begin + 148..begin + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }

    /// With its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// The content of a layer.
pub(crate) const LAYER: &[u8] = b"not really a layer";

/// A configuration for this architecture.
pub(crate) fn configuration(architecture: &str) -> Value {
    json!({
        "os": "linux", "architecture": architecture,
        "config": { "Env": ["A=1"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(LAYER)] },
    })
}

fn hex(value: &Value) -> String {
    Digest::of(value.to_string().as_bytes()).hex().to_owned()
}

/// As `docker save` of Engine 20.10 writes it.
pub(crate) fn docker_archive(architecture: &str) -> Vec<u8> {
    docker_entries(architecture).end()
}

/// The same without its end.
pub(crate) fn docker_entries(architecture: &str) -> Archive {
    let (configuration, layer) = (configuration(architecture), "a".repeat(64));
    let config = format!("{}.json", hex(&configuration));
    Archive::default()
        .directory(&format!("{layer}/"))
        .file(&format!("{layer}/VERSION"), b"1.0")
        .json(&format!("{layer}/json"), &json!({ "id": layer, "os": "linux" }))
        .file(&format!("{layer}/layer.tar"), LAYER)
        .directory(&format!("{}/", "b".repeat(64)))
        .link(&format!("{}/layer.tar", "b".repeat(64)), &format!("../{layer}/layer.tar"))
        .json(&config, &configuration)
        .json(
            "manifest.json",
            &json!([{
                "Config": config, "RepoTags": ["till:latest", "till:v2"],
                "Layers": [format!("{layer}/layer.tar")],
            }]),
        )
        .json("repositories", &json!({ "till": { "latest": layer } }))
}

/// An OCI layout with images for these architectures: behind an index, if there are several.
pub(crate) fn oci_layout(architectures: &[&str]) -> Vec<u8> {
    let mut archive =
        Archive::default().json("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }));
    let mut descriptors = Vec::new();
    let layer = format!("blobs/sha256/{}", Digest::of(LAYER).hex());
    archive = archive.directory("blobs/").directory("blobs/sha256/").file(&layer, LAYER);
    for architecture in architectures {
        let configuration = configuration(architecture);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": { "digest": format!("sha256:{}", hex(&configuration)), "size": 1 },
            "layers": [{ "digest": Digest::of(LAYER), "size": LAYER.len() }],
        });
        archive = archive
            .json(&format!("blobs/sha256/{}", hex(&configuration)), &configuration)
            .json(&format!("blobs/sha256/{}", hex(&manifest)), &manifest);
        descriptors.push(json!({
            "mediaType": OCI_MANIFEST, "digest": format!("sha256:{}", hex(&manifest)), "size": 1,
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let mut top = descriptors[0].clone();
    if descriptors.len() > 1 {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors });
        archive = archive.json(&format!("blobs/sha256/{}", hex(&index)), &index);
        let digest = format!("sha256:{}", hex(&index));
        top = json!({ "mediaType": OCI_INDEX, "digest": digest, "size": 1 });
    }
    top["annotations"] = json!({
        "io.containerd.image.name": "docker.io/library/till:latest",
        "org.opencontainers.image.ref.name": "latest", "org.example": "stays",
    });
    let mut again = top.clone();
    again["annotations"]["org.opencontainers.image.ref.name"] = json!("v2");
    let index = json!({ "schemaVersion": 2, "manifests": [top, again] });
    archive.json("index.json", &index).end()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}
