//! What a registry offers for a reference, and why it could not be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::reason::Reason;
use crate::core::docker::image_version::{ImageVersion, StatedVersion};
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform, Reference};

/// One compressed layer of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    pub digest: Digest,
    /// Size in bytes, from the manifest.
    pub size: u64,
    /// The compression, from the media type.
    #[serde(default)]
    pub packing: Compression,
}

/// How a layer is compressed, as far as it matters for whether an Engine can unpack it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not compressed, compressed in a way that every Engine knows (gzip), or not stated.
    #[default]
    Common,
    /// Zstandard. Docker unpacks it from Engine 23 on.
    Zstd,
    /// Encrypted (`ocicrypt`). No Docker unpacks it.
    Encrypted,
}

impl Compression {
    /// Reads the media type of a layer (OCI image-spec `layer.md`; BuildKit writes zstd in Docker's
    /// types as well).
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        match () {
            () if essence.ends_with("+encrypted") => Self::Encrypted,
            () if essence.ends_with("+zstd") || essence.ends_with(".zstd") => Self::Zstd,
            () => Self::Common,
        }
    }
}

/// An offered image, resolved down to one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What the tag points at: an index, or the manifest itself. A pull requests this digest.
    pub index: Digest,
    /// The manifest for the platform. A verdict is remembered for this digest, because a
    /// republished index must not make a bad image new.
    pub manifest: Digest,
    /// The image's configuration. On the classic image store it is the image ID.
    pub config: Digest,
    /// The platform that the configuration names.
    pub platform: Platform,
    /// The compressed layers, lowest first.
    pub layers: Vec<Layer>,
    /// The digests of the unpacked layers (`rootfs.diff_ids` of the configuration), in the same
    /// order.
    pub diff_ids: Vec<Digest>,
    /// The version that the image states as its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ImageVersion>,
}

impl Offer {
    /// An image on this machine, as an offer. Nothing of it needs to be fetched.
    #[must_use]
    pub fn of_local(image: &Value, id: Digest, pulled_as: Option<Digest>) -> Self {
        let index = pulled_as.unwrap_or_else(|| id.clone());
        Self {
            manifest: index.clone(),
            index,
            config: id,
            platform: inspect::platform(image),
            layers: Vec::new(),
            diff_ids: Vec::new(),
            version: None,
        }
    }

    /// The same with the version that the image on this machine states as its own.
    #[must_use]
    pub fn with_version_of(mut self, image: &Value, reference: &Reference) -> Self {
        let stated = StatedVersion::of_labels(&inspect::labels(image));
        self.version = stated.and_then(|stated| stated.own(reference).cloned());
        self
    }

    /// All digests that identify the offered image.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        BTreeSet::from([self.index.clone(), self.manifest.clone(), self.config.clone()])
    }

    /// Whether this is the ID of the offered image. On the classic image store the ID is the
    /// configuration's digest, on the containerd image store the digest of the index or the
    /// manifest.
    #[must_use]
    pub fn has_id(&self, image_id: &str) -> bool {
        [&self.config, &self.manifest, &self.index].iter().any(|it| it.as_str() == image_id)
    }
}

/// A lookup without an answer. It is never a reason to pull.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LookupError {
    pub reason: Reason,
    /// What happened, in one sentence, without credentials.
    pub detail: String,
    /// How long the registry asks the agent to wait.
    pub retry_after: Option<Duration>,
    /// The registry refused, and no login was sent because there is none for this registry.
    pub is_anonymous: bool,
    /// A mirror was asked before, and does not have the name.
    pub is_missing_on_mirror: bool,
}

impl LookupError {
    /// An error without a waiting time from the registry.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after: None,
            is_anonymous: false,
            is_missing_on_mirror: false,
        }
    }
}
