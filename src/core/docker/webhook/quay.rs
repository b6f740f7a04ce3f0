//! Quay's webhook for the event "Push to Repository" (Red Hat Quay, "Repository notifications").
//! Its tags are a list, in older versions an object. It cannot sign, so its secret is in the URL.

use serde_json::Value;

use super::{PUSHES_MAX, Push, WebhookContent, WebhookError, WebhookRead, text};

pub(super) const NAME: &str = "Quay";

pub(super) fn read(document: &Value) -> WebhookRead {
    let named = text(document, "/docker_url")?;
    let Some(tags) = document.get("updated_tags") else {
        return Some(Err(WebhookError::NoPush(NAME)));
    };
    let tags: Vec<String> = match tags {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        // The values are image IDs, not digests.
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let Some(named) = Push::named(named).filter(|_| !tags.is_empty()) else {
        return Some(Err(WebhookError::Unreadable(NAME)));
    };
    let tags = tags.into_iter().take(PUSHES_MAX);
    let pushed = tags.map(|tag| Push { tag: Some(tag), ..named.clone() });
    Some(Ok(WebhookContent::Pushed(pushed.collect())))
}
