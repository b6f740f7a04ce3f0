//! GitLab's pipeline and job events (docs.gitlab.com, "Webhook events"). They name no image: GitLab
//! has no webhook for its registry. A self-managed registry sends the events of a CNCF registry.

use serde_json::Value;

use super::{WebhookContent, WebhookError, WebhookRead, build, text};

pub(super) const NAME: &str = "GitLab";

/// The states of a pipeline or a job that has not ended, or never ran.
const RUNNING: [&str; 8] = [
    "created",
    "waiting_for_resource",
    "preparing",
    "pending",
    "running",
    "manual",
    "scheduled",
    "skipped",
];

pub(super) fn read(document: &Value) -> WebhookRead {
    let kind = text(document, "/object_kind")?;
    let name =
        text(document, "/project/path_with_namespace").or_else(|| text(document, "/project_name"));
    let (state, url) = match kind {
        "pipeline" => ("/object_attributes/status", text(document, "/object_attributes/url")),
        "build" => ("/build_status", text(document, "/project/web_url")),
        "push" if document.get("total_commits_count").is_some() => {
            return Some(Ok(WebhookContent::Nothing("this is a push of commits, not of an image")));
        }
        _ => return Some(Err(WebhookError::NoPush(NAME))),
    };
    match (name, text(document, state)) {
        (Some(name), Some(state)) => build(name, state, "success", &RUNNING, url),
        _ => Some(Err(WebhookError::Unreadable(NAME))),
    }
}
