//! Webhooks that registries send after a push: the events of a CNCF registry, and the webhooks of
//! others. They are only a hint to check a container. Their content is not trusted, so a false one
//! causes at most a `HEAD` request.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::docker::reference::{DOCKER_HUB, Reference};

/// Most pushes that are read from one document. A registry whose receiver was away sends the missed
/// events together.
pub const PUSHES_MAX: usize = 100;

/// The host of GitHub's container registry.
const GITHUB: &str = "ghcr.io";

/// A tag that was moved or created.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Push {
    /// The registry as references name it, if the document says it. The events of a CNCF registry
    /// do not, because the registry does not know the name under which its users reach it.
    pub registry: Option<String>,
    /// The path below the registry: `library/nginx`.
    pub repository: String,
    /// The tag; absent if the document does not say it, and then it may be any.
    pub tag: Option<String>,
}

impl Push {
    /// Whether a container with this reference must be checked.
    #[must_use]
    pub fn concerns(&self, reference: &Reference) -> bool {
        self.repository == reference.repository
            && self.registry.as_ref().is_none_or(|registry| *registry == reference.registry)
            && self.tag.as_ref().is_none_or(|tag| Some(tag) == reference.tag.as_ref())
    }

    /// Reads a text that is written like a reference: `ghcr.io/shop/till:v1`.
    fn named(text: &str) -> Option<Self> {
        let reference: Reference = text.parse().ok()?;
        let Reference { registry, repository, tag, .. } = reference;
        Some(Self { registry: Some(registry), repository, tag })
    }
}

/// Why a document is not a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("this is not JSON")]
    NoJson,
    #[error(
        "this is neither the events of a registry nor a webhook of Docker Hub, GitHub, Gitea, \
         Harbor, Quay, Azure or Artifactory"
    )]
    Unknown,
    /// The kind is known, but the pushed image is missing or has another shape.
    #[error("this looks like a push event of {0}, but it does not name the pushed image")]
    Unreadable(&'static str),
    /// The kind is known, but the event is not a push and need not be sent.
    #[error("this is an event of {0} other than a push: configure it to send push events only")]
    NoPush(&'static str),
}

/// Reads the documents of one sender: whether this is one, and what was pushed.
type WebhookReader = fn(&Value) -> Option<Result<Vec<Push>, WebhookError>>;

/// All senders, in the order in which they are tried.
const READERS: [WebhookReader; 8] =
    [of_events, of_docker_hub, of_github, of_gitea, of_harbor, of_quay, of_azure, of_artifactory];

/// The pushed tags, each once. An empty list is no error if the sender cannot be configured to send
/// only pushes: registries also report pulls, mounts, and manifests without a tag.
///
/// # Errors
/// The document is of an unknown kind, or reports something other than a push.
pub fn parse(bytes: &[u8]) -> Result<Vec<Push>, WebhookError> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| WebhookError::NoJson)?;
    if is_ping(&document) {
        return Ok(Vec::new());
    }
    let mut pushed =
        READERS.iter().find_map(|read| read(&document)).unwrap_or(Err(WebhookError::Unknown))?;
    pushed.truncate(PUSHES_MAX);
    pushed.sort_unstable();
    pushed.dedup();
    Ok(pushed)
}

/// What GitHub and Azure send after a webhook is created.
fn is_ping(document: &Value) -> bool {
    document.get("zen").is_some() || text(document, "/action") == Some("ping")
}

/// A push of one image, or the reason why it could not be read.
fn one(sender: &'static str, pushed: Option<Push>) -> Option<Result<Vec<Push>, WebhookError>> {
    Some(pushed.map(|pushed| vec![pushed]).ok_or(WebhookError::Unreadable(sender)))
}

/// The events of a CNCF registry; GitLab and many others use them.
fn of_events(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    let events = document.get("events")?.as_array()?;
    Some(Ok(events.iter().take(PUSHES_MAX).filter_map(of_event).collect()))
}

/// One event of a CNCF registry (distribution `notifications/event.go`). A manifest without a tag
/// moves no tag: its index has an event of its own.
fn of_event(event: &Value) -> Option<Push> {
    let is_push = text(event, "/action") == Some("push");
    let tag = text(event, "/target/tag").filter(|_| is_push)?;
    let repository = text(event, "/target/repository")?.to_owned();
    Some(Push { registry: None, repository, tag: Some(tag.to_owned()) })
}

/// Docker Hub's webhook (docs.docker.com, "Docker Hub webhooks").
fn of_docker_hub(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    document.get("push_data")?;
    let tag = text(document, "/push_data/tag").map(str::to_owned);
    let named = text(document, "/repository/repo_name").and_then(Push::named);
    let registry = Some(DOCKER_HUB.to_owned());
    one("Docker Hub", named.map(|named| Push { registry, tag, ..named }))
}

/// GitHub's webhook (`package` and `registry_package`, which differ only in details). It also
/// reports packages that are no containers, and this cannot be switched off.
fn of_github(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    let package = ["registry_package", "package"].iter().find_map(|key| document.get(*key))?;
    let kind = text(package, "/package_type")?;
    let is_deleted = text(document, "/action") == Some("deleted");
    if is_deleted || !kind.eq_ignore_ascii_case("container") {
        return Some(Ok(Vec::new()));
    }
    one("GitHub", of_github_container(package))
}

fn of_github_container(package: &Value) -> Option<Push> {
    let tag = text(package, "/package_version/container_metadata/tag/name").map(str::to_owned);
    if let Some(url) = text(package, "/package_version/package_url") {
        let named = Push::named(url.trim_end_matches(':'))?;
        return Some(Push { tag, ..named });
    }
    let owner = text(package, "/namespace").or_else(|| text(package, "/owner/login"))?;
    let name = text(package, "/name")?;
    let repository = format!("{owner}/{name}").to_lowercase();
    Some(Push { registry: Some(GITHUB.to_owned()), repository, tag })
}

/// The webhook of Gitea and Forgejo for the event "Package" (Gitea `modules/structs/hook.go`). The
/// registry is the host of the package's page. A manifest without a tag has its digest as version:
/// the tag that leads to it has an event of its own.
fn of_gitea(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    let package = document.get("package")?;
    let kind = text(package, "/type")?;
    let is_created = text(document, "/action").is_none_or(|action| action == "created");
    let version = text(package, "/version");
    if !is_created || kind != "container" || version.is_some_and(|it| it.contains(':')) {
        return Some(Ok(Vec::new()));
    }
    let pushed = || {
        let (owner, name) = (text(package, "/owner/login")?, text(package, "/name")?);
        Some(Push {
            registry: text(package, "/html_url").and_then(host_of).map(str::to_owned),
            repository: format!("{owner}/{name}").to_lowercase(),
            tag: Some(version?.to_owned()),
        })
    };
    one("Gitea", pushed())
}

/// Harbor's webhook, in its own format and as a CloudEvent (goharbor.io, "Configure Webhook
/// Notifications"): an artifact may have several tags, or none.
fn of_harbor(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    const PUSHES: [&str; 3] = ["PUSH_ARTIFACT", "harbor.artifact.pushed", "pushImage"];
    let data = document.get("event_data").or_else(|| document.get("data"))?;
    let kind = text(document, "/type")?;
    let is_harbor = document.get("event_data").is_some() || kind.starts_with("harbor.");
    if !is_harbor {
        return None;
    }
    if !PUSHES.contains(&kind) {
        return Some(Err(WebhookError::NoPush("Harbor")));
    }
    let resources = data.get("resources").and_then(Value::as_array).into_iter().flatten();
    let pushed = resources.take(PUSHES_MAX).filter_map(|resource| {
        let named = Push::named(text(resource, "/resource_url")?)?;
        // An artifact without a tag is named by its digest: it moves no tag.
        let tag = text(resource, "/tag").filter(|tag| !tag.contains(':')).map(str::to_owned);
        (tag.is_some() || named.tag.is_some()).then(|| Push { tag: tag.or(named.tag), ..named })
    });
    let has_any = data.pointer("/resources/0").is_some();
    Some(if has_any { Ok(pushed.collect()) } else { Err(WebhookError::Unreadable("Harbor")) })
}

/// Quay's webhook for the event "Push to Repository": its tags are a list, in older versions an
/// object (Red Hat Quay, "Repository notifications").
fn of_quay(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    let named = text(document, "/docker_url")?;
    let Some(tags) = document.get("updated_tags") else {
        return Some(Err(WebhookError::NoPush("Quay")));
    };
    let tags: Vec<String> = match tags {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let Some(named) = Push::named(named).filter(|_| !tags.is_empty()) else {
        return Some(Err(WebhookError::Unreadable("Quay")));
    };
    let tags = tags.into_iter().take(PUSHES_MAX);
    Some(Ok(tags.map(|tag| Push { tag: Some(tag), ..named.clone() }).collect()))
}

/// The webhook of Azure's registry: one event of a CNCF registry plus the registry's name
/// (learn.microsoft.com, "Azure Container Registry webhook reference").
fn of_azure(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    document.get("target")?;
    if text(document, "/action")? != "push" {
        return Some(Err(WebhookError::NoPush("Azure's registry")));
    }
    let registry = text(document, "/request/host").map(str::to_owned);
    one("Azure's registry", of_event(document).map(|pushed| Push { registry, ..pushed }))
}

/// Artifactory's webhook of the domain "docker" (jfrog.com, "Event types"). Whether the
/// repository's name is part of the image's name depends on the setup of its host, so both are
/// used.
fn of_artifactory(document: &Value) -> Option<Result<Vec<Push>, WebhookError>> {
    if text(document, "/domain")? != "docker" {
        return None;
    }
    if text(document, "/event_type") != Some("pushed") {
        return Some(Err(WebhookError::NoPush("Artifactory")));
    }
    let (Some(image), Some(tag)) =
        (text(document, "/data/image_name"), text(document, "/data/tag"))
    else {
        return Some(Err(WebhookError::Unreadable("Artifactory")));
    };
    let within = text(document, "/data/repo_key").map(|key| format!("{key}/{image}"));
    let names = within.into_iter().chain([image.to_owned()]);
    let pushed = |repository| Push { registry: None, repository, tag: Some(tag.to_owned()) };
    Some(Ok(names.map(pushed).collect()))
}

/// The `HOST:PORT` of a web address.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    // The part before an `@` is a login, not the host.
    let host = host.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// A text that is not empty.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
