//! The webhook of Gitea and Forgejo for the event "Package" (Gitea `modules/structs/hook.go`).

use serde_json::Value;

use super::{Push, WebhookContent, WebhookRead, host_of, one, text};

pub(super) const NAME: &str = "Gitea";

/// The registry is the host of the package's page. A manifest without a tag has its digest as
/// version: the tag that leads to it has an event of its own.
pub(super) fn read(document: &Value) -> WebhookRead {
    // The button "Test delivery" sends a made-up push of commits (Gitea `routers/web/repo/setting/
    // webhook.go`); the selected events make no difference.
    if document.get("total_commits").is_some() && document.get("commits").is_some() {
        return Some(Ok(WebhookContent::Nothing(
            "this is Gitea's test delivery or a push of commits; images need the event Package",
        )));
    }
    let package = document.get("package")?;
    let kind = text(package, "/type")?;
    let is_created = text(document, "/action").is_none_or(|action| action == "created");
    let version = text(package, "/version");
    if !is_created || kind != "container" || version.is_some_and(|it| it.contains(':')) {
        return Some(Ok(WebhookContent::Pushed(Vec::new())));
    }
    let pushed = || {
        let (owner, name) = (text(package, "/owner/login")?, text(package, "/name")?);
        Some(Push {
            registry: text(package, "/html_url").and_then(host_of).map(str::to_owned),
            repository: format!("{owner}/{name}").to_lowercase(),
            tag: Some(version?.to_owned()),
            digest: None,
        })
    };
    one(NAME, pushed())
}
