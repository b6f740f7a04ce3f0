//! What a registry offers for a reference, and why it could not be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::docker::reference::{Digest, Platform};

/// One compressed layer of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the compressed layer.
    pub digest: Digest,
    /// Its size in bytes, as the manifest says.
    pub size: u64,
    /// How it is packed, as its media type says.
    #[serde(default)]
    pub packing: Compression,
}

/// How a layer is packed, as far as that matters for whether an Engine can unpack it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not packed, or in a way that every Engine knows (gzip), or in one that nobody told.
    #[default]
    Common,
    /// Zstandard, which Docker unpacks from Engine 23 on.
    Zstd,
    /// Encrypted (`ocicrypt`), which no Docker unpacks.
    Encrypted,
}

impl Compression {
    /// What the media type of a layer says (OCI image-spec `layer.md`; BuildKit writes zstd in
    /// Docker's types as well).
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
    /// What the tag points at: an index, or the manifest itself. This is what a pull asks for.
    pub index: Digest,
    /// The manifest for the platform. This is what a verdict is remembered for: a republished
    /// index must not revive a bad image.
    pub manifest: Digest,
    /// The image's configuration. The image ID on the classic image store.
    pub config: Digest,
    /// What the configuration says it was built for.
    pub platform: Platform,
    /// The compressed layers, lowest first.
    pub layers: Vec<Layer>,
    /// The digests of the unpacked layers (`rootfs.diff_ids` of the configuration), same order.
    pub diff_ids: Vec<Digest>,
}

impl Offer {
    /// An image on this machine as if it were offered. Nothing of it is to be fetched.
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
        }
    }

    /// Everything that identifies the offered image.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        BTreeSet::from([self.index.clone(), self.manifest.clone(), self.config.clone()])
    }

    /// Whether this is the ID of the offered image: on the classic image store it is the
    /// configuration's digest, on the containerd image store the index's or the manifest's.
    #[must_use]
    pub fn has_id(&self, image_id: &str) -> bool {
        [&self.config, &self.manifest, &self.index].iter().any(|it| it.as_str() == image_id)
    }
}

/// A look-up that ended without an answer. Never a reason to pull.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LookupError {
    /// The word for it.
    pub reason: Reason,
    /// What happened, in one sentence, without credentials.
    pub detail: String,
    /// How long the registry asked to be left alone.
    pub retry_after: Option<Duration>,
    /// It was refused, and no login was shown: there is none for this registry.
    pub is_anonymous: bool,
    /// A mirror was asked before, and has nothing of the name.
    pub is_missing_on_mirror: bool,
}

impl LookupError {
    /// An error without a wish of the registry.
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
