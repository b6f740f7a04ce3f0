//! CircleCI's outbound webhooks (circleci.com/docs, "Outbound webhooks reference"). They report how
//! a workflow or a job ended, and name no image.

use serde_json::Value;

use super::{WebhookContent, WebhookError, WebhookRead, build, text};

pub(super) const NAME: &str = "CircleCI";

pub(super) fn read(document: &Value) -> WebhookRead {
    // Every event has the name of its webhook; no other sender has that.
    document.pointer("/webhook/id")?;
    let part = match text(document, "/type")? {
        "workflow-completed" => "workflow",
        "job-completed" => "job",
        "ping" => return Some(Ok(WebhookContent::Nothing("this is CircleCI's ping"))),
        _ => return Some(Err(WebhookError::NoPush(NAME))),
    };
    let state = document.get(part).and_then(|part| text(part, "/status"));
    let (Some(name), Some(state)) = (text(document, "/project/slug"), state) else {
        return Some(Err(WebhookError::Unreadable(NAME)));
    };
    build(name, state, "success", &[], text(document, "/workflow/url"))
}
