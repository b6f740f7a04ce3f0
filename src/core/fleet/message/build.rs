//! `build/NAME`: how a build of a CI ended.

use serde::Deserialize;
use serde_json::json;

use crate::core::fleet::message::{VERSION, wire};
use crate::core::fleet::names::BuildName;

/// A bridge tells how a build ended. No device acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BuildResult {
    #[serde(deserialize_with = "wire::name")]
    pub name: BuildName,
    pub ok: bool,
    /// The page of the build, for people.
    #[serde(default, deserialize_with = "wire::optional_text::<_, {wire::URL_LENGTH_MAX}>")]
    pub url: Option<String>,
}

impl BuildResult {
    /// The payload. An address that is too long is left out, because a part of it leads nowhere.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut document = json!({"v": VERSION, "name": self.name.as_str(), "ok": self.ok});
        let is_short = |url: &&String| url.chars().count() <= wire::URL_LENGTH_MAX;
        if let Some(url) = self.url.as_ref().filter(is_short) {
            document["url"] = json!(url);
        }
        document.to_string().into_bytes()
    }
}
