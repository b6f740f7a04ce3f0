//! The events of a CNCF registry, and the webhook of Azure's registry, which is one such event.

use serde_json::Value;

use super::{PUSHES_MAX, Push, WebhookContent, WebhookError, WebhookRead, digest, one, text};

/// The name of Azure's registry.
pub(super) const AZURE: &str = "Azure's registry";

/// The events of a CNCF registry (distribution, `docs/content/about/notifications.md`); GitLab's
/// registry and many others use them.
pub(super) fn read(document: &Value) -> WebhookRead {
    let events = document.get("events")?.as_array()?;
    let pushed = events.iter().take(PUSHES_MAX).filter_map(event);
    Some(Ok(WebhookContent::Pushed(pushed.collect())))
}

/// One event (distribution `notifications/event.go`). A manifest without a tag moves no tag: its
/// index has an event of its own. The host in `target.url` is the one that the pusher used, and the
/// containers may use another name, so it does not count.
fn event(event: &Value) -> Option<Push> {
    let is_push = text(event, "/action") == Some("push");
    let tag = text(event, "/target/tag").filter(|_| is_push)?.to_owned();
    let repository = text(event, "/target/repository")?.to_owned();
    let digest = digest(event, "/target/digest");
    Some(Push { registry: None, repository, tag: Some(tag), digest })
}

/// The webhook of Azure's registry: one event plus the registry's name (learn.microsoft.com, "Azure
/// Container Registry webhook reference"). It sends a `ping` on request.
pub(super) fn read_azure(document: &Value) -> WebhookRead {
    if text(document, "/action") == Some("ping") {
        return Some(Ok(WebhookContent::Nothing("this is Azure's ping")));
    }
    document.get("target")?;
    if text(document, "/action")? != "push" {
        return Some(Err(WebhookError::NoPush(AZURE)));
    }
    let registry = text(document, "/request/host").map(str::to_owned);
    one(AZURE, event(document).map(|pushed| Push { registry, ..pushed }))
}
