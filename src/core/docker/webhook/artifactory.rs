//! Artifactory's webhook of the domain "docker" (docs.jfrog.com, "Event Types").

use serde_json::Value;

use super::{Push, Read, WebhookContent, WebhookError, text};

pub(super) const NAME: &str = "Artifactory";

/// Whether the repository's name is part of the image's name depends on the setup of its host, so
/// both are used.
pub(super) fn read(document: &Value) -> Read {
    if text(document, "/domain")? != "docker" {
        return None;
    }
    if text(document, "/event_type") != Some("pushed") {
        return Some(Err(WebhookError::NoPush(NAME)));
    }
    let (Some(image), Some(tag)) =
        (text(document, "/data/image_name"), text(document, "/data/tag"))
    else {
        return Some(Err(WebhookError::Unreadable(NAME)));
    };
    let digest =
        text(document, "/data/sha256").and_then(|hex| format!("sha256:{hex}").parse().ok());
    let within = text(document, "/data/repo_key").map(|key| format!("{key}/{image}"));
    let names = within.into_iter().chain([image.to_owned()]);
    let pushed = names.map(|repository| {
        let digest = digest.clone();
        Push { registry: None, repository, tag: Some(tag.to_owned()), digest }
    });
    Some(Ok(WebhookContent::Pushed(pushed.collect())))
}
