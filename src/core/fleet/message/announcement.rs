//! `announce/REF`: a tag may have moved.

use serde::Deserialize;
use serde_json::json;

use crate::core::docker::reference::{Digest, Reference};
use crate::core::docker::webhook::Push;
use crate::core::fleet::message::{VERSION, wire};
use crate::core::fleet::topic::whole_name;

/// A bridge or a mirror says that a tag may have moved. It means "look now" and no more: the
/// registry stays the truth.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Announcement {
    #[serde(rename = "ref", deserialize_with = "wire::reference")]
    pub reference: Reference,
    /// A hint, which may save the look. It is never pulled.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Who says it, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::SENDER_LENGTH_MAX}>")]
    pub by: Option<String>,
}

impl Announcement {
    /// The same as a registry would report it.
    #[must_use]
    pub fn push(&self) -> Push {
        let Reference { registry, repository, tag, .. } = self.reference.clone();
        Push { registry: Some(registry), repository, tag, digest: self.digest.clone() }
    }

    /// The payload; `None` for a reference without a tag.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let reference = whole_name(&self.reference)?;
        let mut document = json!({"v": VERSION, "ref": reference});
        if let Some(digest) = &self.digest {
            document["digest"] = json!(digest);
        }
        if let Some(by) = &self.by {
            document["by"] = json!(wire::cut(by, wire::SENDER_LENGTH_MAX));
        }
        Some(document.to_string().into_bytes())
    }
}
