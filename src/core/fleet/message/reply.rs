//! `device/ID/reply`: the answer to a command.

use serde::Deserialize;
use serde_json::json;

use crate::core::fleet::message::{VERSION, wire};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CommandReply {
    /// The command's ID, if it had one.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::ID_LENGTH_MAX}>")]
    pub id: Option<String>,
    pub ok: bool,
    /// What happened, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::SENTENCE_LENGTH_MAX}>")]
    pub detail: Option<String>,
}

impl CommandReply {
    /// The payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut document = json!({"v": VERSION, "ok": self.ok});
        if let Some(id) = &self.id {
            document["id"] = json!(id);
        }
        if let Some(detail) = &self.detail {
            document["detail"] = json!(wire::cut(detail, wire::SENTENCE_LENGTH_MAX));
        }
        document.to_string().into_bytes()
    }
}
