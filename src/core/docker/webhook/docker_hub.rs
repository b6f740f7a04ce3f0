//! Docker Hub's webhook (docs.docker.com, "Docker Hub webhooks"). It can neither sign nor send a
//! header, so its secret is in the URL. Its `callback_url` is never called: a false webhook could
//! make this machine send requests anywhere.

use serde_json::Value;

use super::{Push, WebhookRead, one, text};
use crate::core::docker::reference::DOCKER_HUB;

pub(super) const NAME: &str = "Docker Hub";

pub(super) fn read(document: &Value) -> WebhookRead {
    document.get("push_data")?;
    let tag = text(document, "/push_data/tag").map(str::to_owned);
    let named = text(document, "/repository/repo_name").and_then(Push::named);
    let registry = Some(DOCKER_HUB.to_owned());
    one(NAME, named.map(|named| Push { registry, tag, digest: None, ..named }))
}
