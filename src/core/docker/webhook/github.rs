//! GitHub's webhooks `registry_package` and `package`, which differ only in details
//! (docs.github.com, "Webhook events and payloads"). GitHub also reports packages that are no
//! containers, and this cannot be switched off.

use serde_json::Value;

use super::{Push, WebhookContent, WebhookError, WebhookRead, digest, one, text};

pub(super) const NAME: &str = "GitHub";

/// The host of GitHub's container registry.
const REGISTRY: &str = "ghcr.io";

pub(super) fn read(document: &Value) -> WebhookRead {
    if document.get("zen").is_some() {
        return Some(Ok(WebhookContent::Nothing("this is GitHub's ping")));
    }
    if is_git_push(document) {
        return Some(Err(WebhookError::NoPush(NAME)));
    }
    let package = ["registry_package", "package"].iter().find_map(|key| document.get(*key))?;
    let kind = text(package, "/package_type")?;
    let is_deleted = text(document, "/action") == Some("deleted");
    if is_deleted || !kind.eq_ignore_ascii_case("container") {
        return Some(Ok(WebhookContent::Pushed(Vec::new())));
    }
    one(NAME, container(package))
}

/// The event `push` is about commits. Gitea's counts them, GitHub's does not.
fn is_git_push(document: &Value) -> bool {
    let has = |key| document.get(key).is_some();
    has("head_commit") && has("commits") && has("ref") && !has("total_commits")
}

fn container(package: &Value) -> Option<Push> {
    let tag = text(package, "/package_version/container_metadata/tag/name").map(str::to_owned);
    let digest =
        digest(package, "/package_version/container_metadata/tag/digest").filter(|_| tag.is_some());
    if let Some(url) = text(package, "/package_version/package_url") {
        let named = Push::named(url.trim_end_matches(':'))?;
        return Some(Push { tag, digest, ..named });
    }
    let owner = text(package, "/namespace").or_else(|| text(package, "/owner/login"))?;
    let name = text(package, "/name")?;
    let repository = format!("{owner}/{name}").to_lowercase();
    Some(Push { registry: Some(REGISTRY.to_owned()), repository, tag, digest })
}
