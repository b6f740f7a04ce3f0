//! What registries say when something was pushed: the events of a CNCF registry, and the webhooks
//! of Docker Hub and of GitHub's packages. They are only a hint to look; nothing of them is
//! believed, so the worst that a false one brings about is a `HEAD`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::docker::reference::{DOCKER_HUB, Reference};

/// Most pushes that are read of one document. An endpoint that was away gets one event each.
pub const PUSHES_MAX: usize = 100;

/// Where GitHub keeps containers.
const GITHUB: &str = "ghcr.io";

/// A tag that was moved, or made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pushed {
    /// The registry as references name it, where the document tells. The events of a CNCF registry
    /// do not: the registry does not know under which name its users reach it.
    pub registry: Option<String>,
    /// The path below the registry: `library/nginx`.
    pub repository: String,
    /// The tag; absent where the document does not tell, and it may be any.
    pub tag: Option<String>,
}

impl Pushed {
    /// Whether a container with this reference is to be checked.
    #[must_use]
    pub fn concerns(&self, reference: &Reference) -> bool {
        self.repository == reference.repository
            && self.registry.as_ref().is_none_or(|registry| *registry == reference.registry)
            && self.tag.as_ref().is_none_or(|tag| Some(tag) == reference.tag.as_ref())
    }

    /// What a text names that is written like a reference: `ghcr.io/shop/till:v1`.
    fn named(text: &str) -> Option<Self> {
        let reference: Reference = text.parse().ok()?;
        let Reference { registry, repository, tag, .. } = reference;
        Some(Self { registry: Some(registry), repository, tag })
    }
}

/// Why a document says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// It is no JSON.
    #[error("this is no JSON")]
    NoJson,
    /// It is of no kind that is known here.
    #[error("this is neither the events of a registry nor a webhook of Docker Hub or GitHub")]
    Unknown,
}

/// The tags that were pushed, each once. None is no error: registries also tell of pulls, of
/// mounts, and of manifests without a tag.
///
/// # Errors
/// The document is of no kind that is known here.
pub fn parse(bytes: &[u8]) -> Result<Vec<Pushed>, NotificationError> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| NotificationError::NoJson)?;
    let mut pushed = if let Some(events) = document.get("events").and_then(Value::as_array) {
        events.iter().take(PUSHES_MAX).filter_map(of_event).collect()
    } else if document.get("push_data").is_some() {
        Vec::from_iter(of_docker_hub(&document))
    } else if let Some(package) =
        ["registry_package", "package"].iter().find_map(|key| document.get(*key))
    {
        Vec::from_iter(of_github(package))
    } else if document.get("zen").is_some() {
        // GitHub's ping after a webhook was made.
        Vec::new()
    } else {
        return Err(NotificationError::Unknown);
    };
    pushed.sort_unstable();
    pushed.dedup();
    Ok(pushed)
}

/// One event of a CNCF registry (distribution `notifications/event.go`). A manifest without a tag
/// moves none: the index that it belongs to has an event of its own.
fn of_event(event: &Value) -> Option<Pushed> {
    let is_push = text(event, "/action") == Some("push");
    let tag = text(event, "/target/tag").filter(|_| is_push)?;
    let repository = text(event, "/target/repository")?.to_owned();
    Some(Pushed { registry: None, repository, tag: Some(tag.to_owned()) })
}

/// Docker Hub's webhook (docs.docker.com, "Docker Hub webhooks").
fn of_docker_hub(document: &Value) -> Option<Pushed> {
    let repository = text(document, "/repository/repo_name")?;
    let tag = text(document, "/push_data/tag").map(str::to_owned);
    let named = Pushed::named(repository)?;
    Some(Pushed { registry: Some(DOCKER_HUB.to_owned()), tag, ..named })
}

/// GitHub's webhook (`package` and `registry_package`, which differ in small things only).
fn of_github(package: &Value) -> Option<Pushed> {
    let is_container = text(package, "/package_type")?.eq_ignore_ascii_case("container");
    let tag = text(package, "/package_version/container_metadata/tag/name").map(str::to_owned);
    if let Some(url) = text(package, "/package_version/package_url").filter(|_| is_container) {
        let named = Pushed::named(url.trim_end_matches(':'))?;
        return Some(Pushed { tag, ..named });
    }
    let owner = text(package, "/namespace").or_else(|| text(package, "/owner/login"))?;
    let name = text(package, "/name").filter(|_| is_container)?;
    let repository = format!("{owner}/{name}").to_lowercase();
    Some(Pushed { registry: Some(GITHUB.to_owned()), repository, tag })
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "notification_tests.rs"]
mod tests;
