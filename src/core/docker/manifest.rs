//! Manifests, indexes and image configurations, and which entry of an index fits a platform.
//!
//! Docker's (`v2s2`) and OCI's documents differ only in their media types, so one parser reads both
//! (distribution `manifest-v2-2`, OCI image-spec 1.1).

use std::cmp::Reverse;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::core::decide::offer::{Compression, Layer};
use crate::core::docker::image_version::{StatedLabels, StatedVersion};
use crate::core::docker::reference::{Digest, Platform};

/// Media type of Docker's index, which Docker calls a manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Media type of Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Media type of OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Media type of OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// All media types that are requested. If one is missing in `Accept`, a registry may convert, and
/// then returns the digest of another document: often the amd64 entry of the index.
pub const ACCEPTED: [&str; 4] = [DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST];

/// Most layers of an image. Docker's classic image store takes 125, its older ones took 127, and no
/// program that builds images makes more. A manifest with more is meant to use up memory.
pub const LAYERS_MAX: usize = 127;

/// Most entries of an index. The largest official images have 40, attestations included.
pub const ENTRIES_MAX: usize = 1000;

/// Why a document is not a manifest, an index or a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON, or a field has the wrong shape. The text comes from outside and is never
    /// shown.
    #[error("it is not JSON of the expected shape (line {line}, column {column})")]
    Json {
        /// Line of the first mistake, from 1.
        line: usize,
        /// Column of the first mistake, from 1.
        column: usize,
    },
    /// Engines accept only version 2.
    #[error("its schema version is {0}, not 2")]
    SchemaVersion(u64),
    /// It is an index and a manifest at once, which programs could read either way
    /// (CVE-2021-41190), or neither.
    #[error("it is neither a manifest nor an index")]
    Ambiguous,
    #[error("it has more than {LAYERS_MAX} layers, and no Engine unpacks as many")]
    TooManyLayers,
    #[error("it is an index of more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    /// Its media type and its content differ.
    #[error("its media type does not agree with what it holds")]
    MediaType,
    /// The configuration of something that is not a container image.
    #[error("its configuration names no platform, so it is no container image")]
    NoPlatform,
    #[error("the manifest has {layers} layers and its configuration {diff_ids}")]
    LayerCount {
        /// Compressed layers of the manifest.
        layers: usize,
        /// Unpacked layers of the configuration.
        diff_ids: usize,
    },
}

/// The document behind a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image for several platforms.
    Index(Vec<IndexEntry>),
    /// One image for one platform.
    Manifest(Manifest),
}

/// One entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The digest of the manifest, or of a nested index.
    pub digest: Digest,
    /// The platform in the index. Usually absent for nested indexes.
    pub platform: Option<Platform>,
}

/// The manifest of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of the image's configuration.
    pub config: Digest,
    /// The compressed layers, lowest first.
    pub layers: Vec<Layer>,
}

/// The needed parts of an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub platform: Platform,
    /// The digests of the unpacked layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// What its labels state about its version.
    pub version: Option<Box<StatedVersion>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Bounded<RawDescriptor, ENTRIES_MAX>>,
    config: Option<RawDescriptor>,
    layers: Option<Bounded<RawDescriptor, LAYERS_MAX>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<RawAnnotations>,
}

/// A platform in an index. Some tools write an empty one.
#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

/// The annotation that BuildKit puts on attestations, which are no images.
#[derive(Deserialize)]
struct RawAnnotations {
    #[serde(rename = "vnd.docker.reference.type")]
    reference_type: Option<IgnoredAny>,
}

/// A list of which at most `MAX` items are kept in memory. The rest are only counted as too many.
struct Bounded<T, const MAX: usize> {
    kept: Vec<T>,
    is_too_long: bool,
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

struct BoundedVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for BoundedVisitor<T, MAX> {
    type Value = Bounded<T, MAX>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < MAX {
            let Some(item) = list.next_element()? else {
                return Ok(Bounded { kept, is_too_long: false });
            };
            kept.push(item);
        }
        let mut is_too_long = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            is_too_long = true;
        }
        Ok(Bounded { kept, is_too_long })
    }
}

impl<T, const MAX: usize> Bounded<T, MAX> {
    /// The list, if it is not too long.
    fn within(self, error: ManifestError) -> Result<Vec<T>, ManifestError> {
        if self.is_too_long { Err(error) } else { Ok(self.kept) }
    }
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
    rootfs: Option<RawRootfs>,
    config: Option<RawImageConfig>,
}

#[derive(Deserialize)]
struct RawImageConfig {
    #[serde(rename = "Labels", default)]
    labels: StatedLabels,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Option<Bounded<Digest, LAYERS_MAX>>,
}

/// Whether a `Content-Type` is one of the four, independent of parameters after it.
#[must_use]
pub fn is_accepted(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ACCEPTED.iter().any(|accepted| accepted.eq_ignore_ascii_case(essence))
}

/// Reads a manifest or an index.
///
/// # Errors
/// Every document that a registry could read in another way.
pub fn parse_document(bytes: &[u8]) -> Result<Document, ManifestError> {
    let raw: RawDocument = from_json(bytes)?;
    if raw.schema_version != 2 {
        return Err(ManifestError::SchemaVersion(raw.schema_version));
    }
    let says = raw.media_type.as_deref();
    match (raw.manifests, raw.config, raw.layers) {
        (Some(entries), None, None) => {
            agrees(says, &[DOCKER_INDEX, OCI_INDEX])?;
            Ok(Document::Index(images_among(entries.within(ManifestError::TooManyEntries)?)))
        }
        (None, Some(config), layers) => {
            agrees(says, &[DOCKER_MANIFEST, OCI_MANIFEST])?;
            let layers =
                layers.map(|list| list.within(ManifestError::TooManyLayers)).transpose()?;
            let layers = layers.unwrap_or_default().into_iter().map(layer).collect();
            Ok(Document::Manifest(Manifest { config: config.digest, layers }))
        }
        _ => Err(ManifestError::Ambiguous),
    }
}

/// Reads an image's configuration.
///
/// # Errors
/// No JSON, or the configuration of something else (a chart, an artifact).
pub fn parse_configuration(bytes: &[u8]) -> Result<Configuration, ManifestError> {
    let raw: RawConfiguration = from_json(bytes)?;
    if raw.os.is_empty() || raw.architecture.is_empty() {
        return Err(ManifestError::NoPlatform);
    }
    let platform = Platform { os: raw.os, architecture: raw.architecture, variant: raw.variant };
    let diff_ids = raw.rootfs.and_then(|root| root.diff_ids);
    let diff_ids = diff_ids.map(|list| list.within(ManifestError::TooManyLayers)).transpose()?;
    let version = raw.config.and_then(|config| config.labels.0);
    Ok(Configuration { platform, diff_ids: diff_ids.unwrap_or_default(), version })
}

fn layer(raw: RawDescriptor) -> Layer {
    Layer { packing: Compression::of(&raw.media_type), digest: raw.digest, size: raw.size }
}

/// Checks that a configuration belongs to a manifest: an Engine would refuse the pair later.
///
/// # Errors
/// The counts of layers differ.
pub fn check_layers(
    manifest: &Manifest,
    configuration: &Configuration,
) -> Result<(), ManifestError> {
    let (layers, diff_ids) = (manifest.layers.len(), configuration.diff_ids.len());
    if layers == diff_ids { Ok(()) } else { Err(ManifestError::LayerCount { layers, diff_ids }) }
}

/// The entries that may hold an image for `wanted`, the best first.
///
/// The choice is containerd's (`platforms.Only`, `images.Manifest`): the same operating system and
/// architecture; of several variants the highest that is not above the wanted one, so `arm/v7`
/// takes v7, then v6, then v5. An `arm` without variant means v7, an `arm64` without means v8.
/// Entries that name no platform come last, because only their content can show it. Unlike
/// containerd, `arm64` never falls back to `arm`: a userland does not change its word size in an
/// update.
#[must_use]
pub fn candidates<'entries>(
    entries: &'entries [IndexEntry],
    wanted: &Platform,
) -> Vec<&'entries IndexEntry> {
    let mut named: Vec<_> = entries
        .iter()
        .filter_map(|entry| Some((rank(wanted, entry.platform.as_ref()?)?, entry)))
        .collect();
    named.sort_by_key(|(rank, _)| Reverse(*rank));
    let unnamed = entries.iter().filter(|entry| entry.platform.is_none());
    named.into_iter().map(|(_, entry)| entry).chain(unnamed).collect()
}

/// Whether an image whose configuration says `built_for` runs on `wanted`.
///
/// A configuration often lacks the variant even if the index names one; then the architecture is
/// enough.
#[must_use]
pub fn fits(wanted: &Platform, built_for: &Platform) -> bool {
    wanted.accepts(built_for) || rank(wanted, built_for).is_some()
}

/// How well an offered platform fits a wanted one: its variant; `None` if it does not.
fn rank(wanted: &Platform, offered: &Platform) -> Option<(u32, u32)> {
    if wanted.os != offered.os || wanted.architecture != offered.architecture {
        return None;
    }
    match (variant_of(wanted), variant_of(offered)) {
        (Some(wanted), Some(offered)) => (offered <= wanted).then_some(offered),
        _ => (wanted.variant == offered.variant).then_some((0, 0)),
    }
}

/// A variant as numbers: `v7` is (7, 0), `v8.2` is (8, 2); the default of the architecture if there
/// is none (containerd `platforms.normalizeArch`).
fn variant_of(platform: &Platform) -> Option<(u32, u32)> {
    let variant = match (platform.architecture.as_str(), platform.variant.as_str()) {
        ("arm", "") => "v7",
        ("arm64", "") => "v8",
        ("amd64", "") => "v1",
        (_, variant) => variant,
    };
    let number = variant.strip_prefix('v').unwrap_or(variant);
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Leaves out entries that are no images: attestations have the platform `unknown/unknown`.
fn images_among(entries: Vec<RawDescriptor>) -> Vec<IndexEntry> {
    let is_image = |entry: &RawDescriptor| {
        let is_unknown = entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" || platform.architecture == "unknown");
        let refers = entry.annotations.as_ref().is_some_and(|all| all.reference_type.is_some());
        !is_unknown && !refers
    };
    let platform = |raw: RawPlatform| {
        let RawPlatform { os, architecture, variant } = raw;
        // An entry without an architecture says nothing; its content shows the platform.
        (!architecture.is_empty()).then_some(Platform { os, architecture, variant })
    };
    let entry = |raw: RawDescriptor| IndexEntry {
        digest: raw.digest,
        platform: raw.platform.and_then(platform),
    };
    entries.into_iter().filter(is_image).map(entry).collect()
}

fn agrees(says: Option<&str>, holds: &[&str]) -> Result<(), ManifestError> {
    if says.is_none_or(|says| holds.contains(&says)) {
        Ok(())
    } else {
        Err(ManifestError::MediaType)
    }
}

fn from_json<'bytes, T: Deserialize<'bytes>>(bytes: &'bytes [u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ManifestError::Json { line: error.line(), column: error.column() })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
