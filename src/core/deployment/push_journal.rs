//! What is on disk while an image is loaded, or the first container of a deployment is created: a
//! crash leaves an image without a name, or a container without a verdict, and the next start
//! removes them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::docker::reference::Digest;
use crate::core::policy::LABEL_DEPLOYMENT;
use crate::core::recreate::RestartPolicy;

/// Most images without a name that are remembered from before a load. A machine with more needs
/// `docker image prune`; then an image that a crash leaves stays until that.
const UNNAMED_MAX: usize = 1000;

/// Most loads that are expected to end late. Each is left by another crash.
const LATE_MAX: usize = 10;

/// How often the image of such a load is looked for: once in a round and once before a push. An
/// Engine unpacks an archive within minutes.
const LATE_LOOKS_MAX: u32 = 20;

/// Everything that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PushJournal {
    /// The load in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<OpenLoad>,
    /// Loads that a crash ended when the Engine had the whole archive: it may still finish them,
    /// and then their images are removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<OpenLoad>,
    /// First containers that are being created, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub first: BTreeMap<String, OpenFirst>,
}

/// A load in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLoad {
    pub container: String,
    pub by: String,
    pub at: DateTime<Utc>,
    /// The images that had no name before.
    pub unnamed: BTreeSet<String>,
    /// The digest of the image's configuration, before the Engine knows the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// The digests of its unpacked layers. With the containerd image store nothing else of the
    /// image is known before it is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff_ids: Vec<Digest>,
    /// How often its image was looked for after a crash.
    #[serde(default)]
    pub looks: u32,
}

/// A first container that is being created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFirst {
    /// The ID of the line of history.
    pub id: String,
    pub by: String,
    pub at: DateTime<Utc>,
    /// The pushed image.
    pub image_id: String,
    /// The image as the user writes it.
    pub image: String,
    /// The hash of the definition, which the container has in a label.
    pub definition: String,
    /// The restart policy that the container gets at the commit.
    pub policy: RestartPolicy,
    /// The digest of the image's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// The digests of its layers as its manifest names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
    /// Whether the container has proved itself.
    #[serde(default)]
    pub is_verified: bool,
}

impl PushJournal {
    /// Takes an open load for one that a crash ended.
    pub fn expect_late(&mut self) {
        let load = self.load.take();
        // Before its configuration is noted, the Engine lacks the end of the archive.
        self.late.extend(load.filter(|load| load.config.is_some()));
        let surplus = self.late.len().saturating_sub(LATE_MAX);
        self.late.drain(..surplus);
    }

    /// Counts a look for the images of late loads. `found` are the configurations of those that
    /// came. The others are looked for again, but not without a limit.
    pub fn note_look(&mut self, found: &BTreeSet<Digest>) {
        self.late.iter_mut().for_each(|load| load.looks += 1);
        self.late.retain(|load| {
            let has_come = load.config.as_ref().is_some_and(|config| found.contains(config));
            !has_come && load.looks < LATE_LOOKS_MAX
        });
    }
}

impl OpenFirst {
    /// Whether a container with its name was created for it.
    #[must_use]
    pub fn has_made(&self, container: &Value) -> bool {
        inspect::image_id(container) == self.image_id
            && inspect::labels(container).get(LABEL_DEPLOYMENT) == Some(&self.definition)
    }
}

impl OpenLoad {
    /// A load that begins now.
    #[must_use]
    pub fn begin(
        container: &str,
        by: &str,
        at: DateTime<Utc>,
        unnamed: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            container: container.to_owned(),
            by: by.to_owned(),
            at,
            unnamed: unnamed.into_iter().take(UNNAMED_MAX).collect(),
            config: None,
            diff_ids: Vec::new(),
            looks: 0,
        }
    }

    /// Whether this load left an image behind: it has no name, had none before or did not exist,
    /// and has the same content.
    #[must_use]
    pub fn left(&self, image_id: &str, layers: &[&str]) -> bool {
        let has_id = self.config.as_ref().is_some_and(|config| config.as_str() == image_id);
        let has_layers = !self.diff_ids.is_empty()
            && self.diff_ids.iter().map(Digest::as_str).eq(layers.iter().copied());
        !self.unnamed.contains(image_id) && (has_id || has_layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_with_the_pushed_content_is_taken_for_a_leftover() {
        let (config, layer) = (Digest::of(b"config"), Digest::of(b"layer"));
        let other = Digest::of(b"other");
        let begun = OpenLoad::begin("till", "ci", DateTime::UNIX_EPOCH, [other.to_string()]);
        let load = OpenLoad {
            config: Some(config.clone()),
            diff_ids: vec![layer.clone()],
            ..begun.clone()
        };
        let manifest = Digest::of(b"manifest");
        assert!(load.left(config.as_str(), &[]));
        assert!(load.left(manifest.as_str(), &[layer.as_str()]));
        assert!(!load.left(manifest.as_str(), &[]));
        assert!(!load.left(manifest.as_str(), &[layer.as_str(), layer.as_str()]));
        // It was there before, without a name.
        assert!(!load.left(other.as_str(), &[layer.as_str()]));
        // Nothing was known of the image yet, so the Engine could not have created it.
        assert!(!begun.left(config.as_str(), &[layer.as_str()]));
        assert!(!begun.left(config.as_str(), &[]));
    }
}
