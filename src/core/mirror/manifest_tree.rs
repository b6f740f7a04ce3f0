//! A manifest or an index with everything below it. The bytes stay as they came, because a digest
//! is a digest of bytes: the same JSON with other spaces is another image.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use serde::Deserialize;

use crate::core::docker::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::core::docker::reference::{Digest, Platform};
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::core::mirror::subset;

/// Largest manifest or index, in bytes: the limit of registries themselves (distribution
/// `maxManifestBodySize`).
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most levels: an index, an index in it, and manifests. Real images have two.
const LEVELS_MAX: usize = 3;

/// Most entries of an index. The largest official images have 40, attestations included.
const CHILDREN_MAX: usize = 64;

/// Most layers of a manifest. Docker's image stores take 125 and 127.
const LAYERS_MAX: usize = 128;

/// Most bytes of all manifests below one tag, because they are in memory together. An image with 8
/// platforms and their attestations has 40 kB.
const TREE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The beginning of the media types of Docker's schema 1.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";

/// The media types of what a registry keeps as a manifest.
const MANIFEST_TYPES: [&str; 4] = [DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST];

/// A manifest or an index as a registry sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    pub digest: Digest,
    /// Registries refuse the bytes under another type.
    pub media_type: String,
    pub bytes: Bytes,
}

impl RawManifest {
    /// Whether it lists manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), DOCKER_INDEX | OCI_INDEX)
    }
}

/// A configuration or a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobDescriptor {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// What a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Below {
    Manifests(Vec<Digest>),
    /// The layers, then the configuration.
    Blobs(Vec<BlobDescriptor>),
}

/// One manifest or index with what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TreeNode {
    raw: RawManifest,
    below: Below,
}

/// A complete tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestTree {
    /// Everything below a node is before it; the root is the last.
    nodes: Vec<TreeNode>,
    source: Digest,
}

/// A tree whose manifests are still fetched.
#[derive(Debug)]
pub struct TreeBuilder {
    source: Digest,
    root: Digest,
    platforms: Vec<Platform>,
    nodes: BTreeMap<Digest, TreeNode>,
    missing: VecDeque<(Digest, usize)>,
    bytes: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<Vec<DescriptorJson>>,
    config: Option<DescriptorJson>,
    layers: Option<Vec<DescriptorJson>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorJson {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    urls: Option<Vec<String>>,
}

impl TreeBuilder {
    /// Begins with what a tag points at. `platforms` is empty for all of them.
    #[must_use]
    pub fn new(root: Digest, platforms: &[Platform]) -> Self {
        Self {
            source: root.clone(),
            root: root.clone(),
            platforms: platforms.to_vec(),
            nodes: BTreeMap::new(),
            missing: VecDeque::from([(root, 1)]),
            bytes: 0,
        }
    }

    /// The next manifest to fetch, by its digest.
    #[must_use]
    pub fn next(&self) -> Option<&Digest> {
        self.missing.front().map(|(digest, _)| digest)
    }

    /// Adds the manifest that [`next`](Self::next) named.
    ///
    /// # Errors
    /// What is not copied, and what is beyond a limit.
    pub fn add(&mut self, raw: RawManifest) -> Result<(), CopyError> {
        let Some((digest, level)) = self.missing.pop_front() else { return Ok(()) };
        if raw.digest != digest {
            return Err(CopyError::nonsense(format!("{} is not {}", raw.digest, digest)));
        }
        self.bytes += raw.bytes.len();
        if raw.bytes.len() > MANIFEST_BYTES_MAX || self.bytes > TREE_BYTES_MAX {
            let limit = format!("its manifests have more than {TREE_BYTES_MAX} bytes");
            return Err(CopyError::nonsense(limit));
        }
        let raw = match digest == self.root && !self.platforms.is_empty() {
            true => subset::of_platforms(raw, &self.platforms)?,
            false => raw,
        };
        if digest == self.root {
            self.root = raw.digest.clone();
        }
        let below = read(&raw)?;
        if let Below::Manifests(children) = &below {
            if level >= LEVELS_MAX {
                let limit = format!("it has more than {LEVELS_MAX} levels of indexes");
                return Err(CopyError::nonsense(limit));
            }
            let is_new = |child: &&Digest| {
                !self.nodes.contains_key(child) && self.missing.iter().all(|(it, _)| it != *child)
            };
            let new: BTreeSet<_> = children.iter().filter(is_new).cloned().collect();
            self.missing.extend(new.into_iter().map(|child| (child, level + 1)));
        }
        self.nodes.insert(raw.digest.clone(), TreeNode { raw, below });
        Ok(())
    }

    /// The tree, when no manifest is missing.
    #[must_use]
    pub fn finish(mut self) -> Option<ManifestTree> {
        if !self.missing.is_empty() {
            return None;
        }
        let mut nodes = Vec::new();
        take(&mut self.nodes, &self.root, &mut nodes);
        Some(ManifestTree { nodes, source: self.source })
    }
}

/// Moves a node behind everything below it.
fn take(from: &mut BTreeMap<Digest, TreeNode>, digest: &Digest, to: &mut Vec<TreeNode>) {
    let Some(node) = from.remove(digest) else { return };
    if let Below::Manifests(children) = &node.below {
        children.iter().for_each(|child| take(from, child, to));
    }
    to.push(node);
}

impl ManifestTree {
    /// What the tag points at.
    #[must_use]
    pub fn root(&self) -> Option<&RawManifest> {
        self.nodes.last().map(|node| &node.raw)
    }

    /// The digest at the source. It differs from the root's for a subset of the platforms.
    #[must_use]
    pub fn source(&self) -> &Digest {
        &self.source
    }

    /// Whether the root is the source's, byte by byte.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.root().is_some_and(|root| root.digest == self.source)
    }

    /// All manifests, each after everything below it.
    pub fn manifests(&self) -> impl DoubleEndedIterator<Item = &RawManifest> {
        self.nodes.iter().map(|node| &node.raw)
    }

    /// All blobs, without repetition, each configuration after its layers.
    #[must_use]
    pub fn blobs(&self) -> Vec<&BlobDescriptor> {
        let mut seen = BTreeSet::new();
        let blobs = self.nodes.iter().filter_map(|node| match &node.below {
            Below::Blobs(blobs) => Some(blobs),
            Below::Manifests(_) => None,
        });
        blobs.flatten().filter(|blob| seen.insert(&blob.digest)).collect()
    }

    /// All digests below the root: an index that lost one of them has a hole.
    #[must_use]
    pub fn below_root(&self) -> BTreeSet<Digest> {
        let children = self.nodes.iter().rev().skip(1);
        children.map(|node| node.raw.digest.clone()).collect()
    }
}

/// Reads what a manifest names.
fn read(raw: &RawManifest) -> Result<Below, CopyError> {
    let short = raw.digest.short();
    let json: Result<ManifestJson, _> = serde_json::from_slice(&raw.bytes);
    let is_schema_1 = raw.media_type.starts_with(SCHEMA_1)
        || json.as_ref().is_ok_and(|json| json.schema_version == 1);
    if is_schema_1 {
        let detail = format!("{short} is a manifest of Docker's schema 1");
        return Err(CopyError::refused(MirrorRefusal::Schema1, detail));
    }
    let json = json.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CopyError::nonsense(format!("{short} is no manifest (line {line}, column {column})"))
    })?;
    let says = json.media_type.as_deref().unwrap_or(&raw.media_type);
    let is_known = MANIFEST_TYPES.contains(&raw.media_type.as_str());
    if json.schema_version != 2 || says != raw.media_type || !is_known {
        return Err(CopyError::nonsense(format!("{short} has an unknown type of manifest")));
    }
    let is_index = matches!(says, DOCKER_INDEX | OCI_INDEX);
    match (json.manifests, json.config) {
        (Some(children), None) if is_index => manifests(short, children),
        (None, Some(config)) if !is_index => blobs(short, config, json.layers.unwrap_or_default()),
        _ => Err(CopyError::nonsense(format!("{short} is neither a manifest nor an index"))),
    }
}

fn manifests(short: &str, children: Vec<DescriptorJson>) -> Result<Below, CopyError> {
    if children.len() > CHILDREN_MAX {
        let detail = format!("{short} is an index of more than {CHILDREN_MAX} entries");
        return Err(CopyError::nonsense(detail));
    }
    Ok(Below::Manifests(children.into_iter().map(|child| child.digest).collect()))
}

fn blobs(
    short: &str,
    config: DescriptorJson,
    layers: Vec<DescriptorJson>,
) -> Result<Below, CopyError> {
    if layers.len() > LAYERS_MAX {
        let detail = format!("{short} has more than {LAYERS_MAX} layers");
        return Err(CopyError::nonsense(detail));
    }
    if let Some(layer) = layers.iter().find(|layer| is_foreign(layer)) {
        let detail = format!("layer {} of {short} is not in the registry", layer.digest.short());
        return Err(CopyError::refused(MirrorRefusal::ForeignLayer, detail));
    }
    let all = layers.into_iter().chain([config]);
    let blob = |json: DescriptorJson| BlobDescriptor { digest: json.digest, size: json.size };
    Ok(Below::Blobs(all.map(blob).collect()))
}

/// Docker's foreign layers and OCI's nondistributable ones. A registry refuses their `urls`
/// (distribution `validation.manifests.urls`).
fn is_foreign(layer: &DescriptorJson) -> bool {
    let has_urls = layer.urls.as_ref().is_some_and(|urls| !urls.is_empty());
    has_urls
        || layer.media_type.contains(".foreign.")
        || layer.media_type.contains(".nondistributable.")
}

#[cfg(test)]
#[path = "manifest_tree_tests.rs"]
pub(crate) mod tests;
