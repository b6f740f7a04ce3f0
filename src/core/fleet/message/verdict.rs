//! `verdict/REF/ID`: how the update of a reference ended on a device.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::core::docker::reference::{Digest, Reference};
use crate::core::fleet::message::{VERSION, wire};
use crate::core::fleet::topic::whole_name;

/// How the update of a reference to a digest ended on a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FleetVerdict {
    #[serde(rename = "ref", deserialize_with = "wire::reference")]
    pub reference: Reference,
    pub digest: Digest,
    /// False only if the image itself failed.
    pub ok: bool,
    /// What happened, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::SENTENCE_LENGTH_MAX}>")]
    pub why: Option<String>,
}

/// The memory of the device holds the message itself.
impl Serialize for FleetVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document().serialize(serializer)
    }
}

impl FleetVerdict {
    /// The payload; `None` for a reference without a tag.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        self.document().map(|document| document.to_string().into_bytes())
    }

    fn document(&self) -> Option<Value> {
        let reference = whole_name(&self.reference)?;
        let mut document = json!({
            "v": VERSION, "ref": reference, "digest": self.digest, "ok": self.ok,
        });
        if let Some(why) = &self.why {
            document["why"] = json!(wire::cut(why, wire::SENTENCE_LENGTH_MAX));
        }
        Some(document)
    }
}
