//! Harbor's webhook, in its own format and as a CloudEvent (goharbor.io, "Configure Webhook
//! Notifications"). Harbor 1 calls the event `pushImage`, Harbor 2 `PUSH_ARTIFACT`.

use serde_json::Value;

use super::{PUSHES_MAX, Push, WebhookContent, WebhookError, WebhookRead, digest, text};

pub(super) const NAME: &str = "Harbor";

const PUSHES: [&str; 3] = ["PUSH_ARTIFACT", "harbor.artifact.pushed", "pushImage"];

/// What the button "Test endpoint" of Harbor 1 sends (Harbor `src/webhook/model`).
const TEST: &str = "testEndpoint";

pub(super) fn read(document: &Value) -> WebhookRead {
    let kind = text(document, "/type")?;
    if kind == TEST {
        return Some(Ok(WebhookContent::Nothing("this is Harbor's test")));
    }
    let data = document.get("event_data").or_else(|| document.get("data"))?;
    let is_harbor = document.get("event_data").is_some() || kind.starts_with("harbor.");
    if !is_harbor {
        return None;
    }
    if !PUSHES.contains(&kind) {
        return Some(Err(WebhookError::NoPush(NAME)));
    }
    let resources = data.get("resources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if resources.is_empty() {
        return Some(Err(WebhookError::Unreadable(NAME)));
    }
    let repository = text(data, "/repository/repo_full_name");
    let pushed = resources.iter().take(PUSHES_MAX).filter_map(|it| artifact(it, repository));
    Some(Ok(WebhookContent::Pushed(pushed.collect())))
}

/// An artifact may have several tags, each in an entry, or none: then its digest stands where the
/// tag would be, and it moves no tag.
fn artifact(resource: &Value, repository: Option<&str>) -> Option<Push> {
    let named = text(resource, "/resource_url").and_then(Push::named);
    let named = named.or_else(|| {
        let repository = repository?.to_owned();
        Some(Push { registry: None, repository, tag: None, digest: None })
    })?;
    let tag = text(resource, "/tag").filter(|tag| !tag.contains(':')).map(str::to_owned);
    let (tag, digest) = (tag.or(named.tag), digest(resource, "/digest").or(named.digest));
    tag.is_some().then_some(Push { tag, digest, ..named })
}
