//! Bitbucket's webhooks (support.atlassian.com, "Event payloads"). They report commits and the
//! state of builds, and name no image: Bitbucket has no registry.

use serde_json::Value;

use super::{WebhookContent, WebhookError, WebhookRead, build, text};

pub(super) const NAME: &str = "Bitbucket";

pub(super) fn read(document: &Value) -> WebhookRead {
    // The test of Bitbucket Data Center.
    if document.get("test") == Some(&Value::Bool(true)) {
        return Some(Ok(WebhookContent::Nothing("this is Bitbucket's test")));
    }
    let is_push = document.pointer("/push/changes").is_some();
    if is_push || text(document, "/eventKey").is_some() {
        return Some(Err(WebhookError::NoPush(NAME)));
    }
    let status = document.get("commit_status")?;
    match (text(document, "/repository/full_name"), text(status, "/state")) {
        (Some(name), Some(state)) => {
            build(name, state, "SUCCESSFUL", &["INPROGRESS"], text(status, "/url"))
        }
        _ => Some(Err(WebhookError::Unreadable(NAME))),
    }
}
