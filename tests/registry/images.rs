//! Documents as registries store them.

use std::fmt::Write as _;

use pilotfish::core::docker::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use pilotfish::core::docker::reference::Digest;

/// One image for one platform: its manifest and its configuration.
#[derive(Clone)]
pub struct Image {
    pub platform: String,
    pub media_type: &'static str,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
}

impl Image {
    /// An image with one layer, whose content is its name.
    pub fn new(name: &str, platform: &str) -> Self {
        Self::of_type(name, platform, OCI_MANIFEST)
    }

    pub fn docker(name: &str, platform: &str) -> Self {
        Self::of_type(name, platform, DOCKER_MANIFEST)
    }

    fn of_type(name: &str, platform: &str, media_type: &'static str) -> Self {
        let layer = format!("layer of {name} for {platform}").into_bytes();
        let parts: Vec<_> = platform.split('/').collect();
        let variant =
            parts.get(2).map_or_else(String::new, |text| format!(r#","variant":"{text}""#));
        let config = format!(
            r#"{{"os":"{}","architecture":"{}"{variant},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            parts[0],
            parts[1],
            Digest::of(&layer)
        )
        .into_bytes();
        let (configs, layers) = if media_type == OCI_MANIFEST {
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
        } else {
            (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{},"layers":[{}]}}"#,
            descriptor(configs, &config, None),
            descriptor(layers, &layer, None),
        )
        .into_bytes();
        Self { platform: platform.to_owned(), media_type, manifest, config, layer }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// A descriptor of some content, with an optional platform.
pub fn descriptor(media_type: &str, content: &[u8], platform: Option<&str>) -> String {
    let mut text = descriptor_of(media_type, &Digest::of(content), content.len());
    if let Some(platform) = platform {
        // Before its closing brace.
        text.pop();
        let parts: Vec<_> = platform.split('/').collect();
        write!(text, r#","platform":{{"os":"{}","architecture":"{}""#, parts[0], parts[1])
            .expect("writing to a String");
        if let Some(variant) = parts.get(2) {
            write!(text, r#","variant":"{variant}""#).expect("writing to a String");
        }
        text.push_str("}}");
    }
    text
}

/// A descriptor of content that is elsewhere.
pub fn descriptor_of(media_type: &str, digest: &Digest, size: usize) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// An index over images, each with an attestation, as BuildKit writes it.
pub fn index(media_type: &str, images: &[&Image]) -> Vec<u8> {
    let mut entries = Vec::new();
    for image in images {
        entries.push(descriptor(image.media_type, &image.manifest, Some(&image.platform)));
        if media_type == OCI_INDEX {
            entries.push(descriptor(image.media_type, &image.manifest, Some("unknown/unknown")));
        }
    }
    index_of(media_type, &entries)
}

pub fn index_of(media_type: &str, entries: &[String]) -> Vec<u8> {
    assert!([OCI_INDEX, DOCKER_INDEX].contains(&media_type));
    let entries = entries.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{entries}]}}"#)
        .into_bytes()
}
