//! Artifactory's webhook of the domain "docker" (docs.jfrog.com, "Event Types"). The documentation
//! shows its fields also without the envelope `domain` and `data`, so both forms are read.

use serde_json::Value;

use super::{Push, WebhookContent, WebhookError, WebhookRead, text};

pub(super) const NAME: &str = "Artifactory";

/// Whether the repository's name is part of the image's name depends on the setup of its host, so
/// both are used.
pub(super) fn read(document: &Value) -> WebhookRead {
    let data = match text(document, "/domain") {
        Some("docker") => document.get("data").unwrap_or(&Value::Null),
        Some(_) => return None,
        None if document.get("repo_key").is_some() && document.get("image_name").is_some() => {
            document
        }
        None => return None,
    };
    if text(document, "/event_type") != Some("pushed") {
        return Some(Err(WebhookError::NoPush(NAME)));
    }
    let (Some(image), Some(tag)) = (text(data, "/image_name"), text(data, "/tag")) else {
        return Some(Err(WebhookError::Unreadable(NAME)));
    };
    let digest = text(data, "/sha256").and_then(|hex| format!("sha256:{hex}").parse().ok());
    let within = text(data, "/repo_key").map(|key| format!("{key}/{image}"));
    let names = within.into_iter().chain([image.to_owned()]);
    let pushed = names.map(|repository| {
        let digest = digest.clone();
        Push { registry: None, repository, tag: Some(tag.to_owned()), digest }
    });
    Some(Ok(WebhookContent::Pushed(pushed.collect())))
}
