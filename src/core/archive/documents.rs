//! The small documents of an archive: which image it holds, without its names.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::names::plain;
use super::{ArchiveError, ArchivedImage, DOCUMENTS_BYTES_MAX};
use crate::core::docker::manifest::{
    Configuration, Document, Manifest, candidates, fits, parse_configuration, parse_document,
};
use crate::core::docker::reference::{Digest, Platform};

/// The document of `docker save`, which Docker's classic image store reads.
pub(super) const MANIFEST: &str = "manifest.json";

/// The document of an OCI layout.
pub(super) const INDEX: &str = "index.json";

/// The names of images in archives of the first Engines. It is left out.
pub(super) const REPOSITORIES: &str = "repositories";

/// The annotations of `index.json` from which containerd's image store takes names.
const NAME_ANNOTATIONS: [&str; 2] =
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedArchive {
    config: String,
    #[serde(default)]
    layers: Vec<String>,
}

/// What the documents so far say.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// The size of all that are kept.
    bytes: usize,
    /// Configurations with their digests, by the names of their entries.
    configurations: BTreeMap<String, (Digest, Configuration)>,
    /// Manifests and indexes of an OCI layout, by the names of their entries.
    manifests: BTreeMap<String, Document>,
    /// The name of the configuration in `manifest.json`.
    listed: Option<String>,
    /// The digest of the one image in `index.json`.
    indexed: Option<Digest>,
}

impl Documents {
    /// Reads a document that is passed on as it is. Most are of no interest.
    pub(super) fn take(&mut self, name: &str, content: &[u8]) -> Result<(), ArchiveError> {
        let digest = Digest::of(content);
        if name.strip_prefix("blobs/sha256/").is_some_and(|hex| hex != digest.hex()) {
            return Err(ArchiveError::bad("a document in it does not have the digest of its name"));
        }
        match (parse_configuration(content), parse_document(content)) {
            (Ok(configuration), _) if !configuration.diff_ids.is_empty() => {
                self.configurations.insert(name.to_owned(), (digest, configuration));
            }
            (_, Ok(document)) => {
                self.manifests.insert(name.to_owned(), document);
            }
            _ => return Ok(()),
        }
        self.bytes += content.len();
        match self.bytes > DOCUMENTS_BYTES_MAX {
            true => Err(ArchiveError::bad("it has more documents than an image needs")),
            false => Ok(()),
        }
    }

    /// Reads `manifest.json` or `index.json`, and returns it without names of images.
    pub(super) fn rewrite(&mut self, name: &str, content: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let rewritten = if name == MANIFEST { self.list(content) } else { self.index(content) };
        rewritten.map(|value| value.to_string().into_bytes())
    }

    fn list(&mut self, content: &[u8]) -> Result<Value, ArchiveError> {
        let listed: Vec<ListedArchive> = serde_json::from_slice(content)
            .map_err(|_| ArchiveError::bad("its manifest.json is not that of an image archive"))?;
        let [ListedArchive { config, layers }] = listed.as_slice() else {
            return Err(number_of_images(listed.len()));
        };
        let plain = |name: &String| Ok(plain(name.as_bytes())?.unwrap_or_default());
        let config = plain(config)?;
        let layers = layers.iter().map(plain).collect::<Result<Vec<_>, ArchiveError>>()?;
        self.listed = Some(config.clone());
        Ok(manifest_json(&config, &layers))
    }

    fn index(&mut self, content: &[u8]) -> Result<Value, ArchiveError> {
        let wrong = || ArchiveError::bad("its index.json is not that of an OCI layout");
        let mut index: Value = serde_json::from_slice(content).map_err(|_| wrong())?;
        let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
        let entries = entries.ok_or_else(wrong)?;
        let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse::<Digest>().ok();
        let digests: BTreeSet<_> =
            entries.iter().map(digest).collect::<Option<_>>().ok_or_else(wrong)?;
        if digests.len() != 1 {
            return Err(number_of_images(digests.len()));
        }
        // One image with several names has an entry for each.
        entries.truncate(1);
        for entry in entries {
            let annotations = entry.get_mut("annotations").and_then(Value::as_object_mut);
            if let Some(annotations) = annotations {
                annotations.retain(|name, _| !NAME_ANNOTATIONS.contains(&name.as_str()));
            }
        }
        self.indexed = digests.into_iter().next();
        Ok(index)
    }

    /// The image of the archive. If only an OCI layout names it, also the `manifest.json` that
    /// Docker's classic image store needs.
    pub(super) fn image(
        &self,
        wanted: Option<&Platform>,
    ) -> Result<(ArchivedImage, Option<Vec<u8>>), ArchiveError> {
        let (config, added) = match (&self.listed, &self.indexed) {
            (Some(config), _) => (config.clone(), None),
            (None, Some(digest)) => {
                let manifest = self.manifest(digest, wanted)?;
                let layers: Vec<_> =
                    manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
                let config = blob(&manifest.config);
                let added = manifest_json(&config, &layers).to_string().into_bytes();
                (config, Some(added))
            }
            (None, None) => return Err(number_of_images(0)),
        };
        let found = self.configurations.get(&config);
        let (digest, configuration) =
            found.ok_or_else(|| ArchiveError::bad("it lacks the configuration of its image"))?;
        let Configuration { platform, diff_ids, .. } = configuration.clone();
        if let Some(wanted) = wanted.filter(|wanted| !fits(wanted, &platform)) {
            let detail = format!("the image is for {platform}, this machine needs {wanted}");
            return Err(ArchiveError::Platform(detail));
        }
        let blobs = self.blobs(digest);
        Ok((ArchivedImage { config: digest.clone(), platform, diff_ids, blobs }, added))
    }

    /// The layers of the manifest with this configuration.
    fn blobs(&self, config: &Digest) -> Vec<Digest> {
        let of = |document: &Document| match document {
            Document::Manifest(manifest) if manifest.config == *config => {
                Some(manifest.layers.iter().map(|layer| layer.digest.clone()).collect())
            }
            _ => None,
        };
        self.manifests.values().find_map(of).unwrap_or_default()
    }

    /// The manifest behind the digest in `index.json`: that one, or the best entry of an index.
    fn manifest(
        &self,
        digest: &Digest,
        wanted: Option<&Platform>,
    ) -> Result<&Manifest, ArchiveError> {
        let entries = match self.manifests.get(&blob(digest)) {
            Some(Document::Manifest(manifest)) => return Ok(manifest),
            Some(Document::Index(entries)) => entries,
            None => return Err(ArchiveError::bad("it lacks the manifest of its image")),
        };
        let fitting: Vec<_> = match wanted {
            Some(wanted) => candidates(entries, wanted),
            None => entries.iter().collect(),
        };
        let manifest = |digest| match self.manifests.get(&blob(digest)) {
            Some(Document::Manifest(manifest)) => Some(manifest),
            _ => None,
        };
        let found = fitting.into_iter().find_map(|entry| manifest(&entry.digest));
        found.ok_or_else(|| {
            let platform = wanted.map_or_else(String::new, |wanted| format!(" for {wanted}"));
            ArchiveError::Platform(format!("it has no image{platform}"))
        })
    }
}

/// The name of a blob in an OCI layout.
fn blob(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replacen(':', "/", 1))
}

fn manifest_json(config: &str, layers: &[String]) -> Value {
    json!([{ "Config": config, "RepoTags": null, "Layers": layers }])
}

fn number_of_images(number: usize) -> ArchiveError {
    ArchiveError::bad(match number {
        0 => "it holds no image; `docker save IMAGE` writes an archive that does".to_owned(),
        number => format!("it holds {number} images; save only the one to be pushed"),
    })
}
