//! Webhooks of registries and CI systems: one file for each sender, and one table that lists them.
//! A webhook is only a hint to check a container. Its content is not trusted, so a false one causes
//! at most a `HEAD` request. No address in a webhook is ever called.

mod allowed;
mod artifactory;
mod bitbucket;
mod circleci;
mod cncf;
mod docker_hub;
mod forms;
mod gitea;
mod github;
mod gitlab;
mod harbor;
mod plain;
mod quay;

use serde_json::Value;

use crate::core::docker::reference::{Digest, Reference};

pub use allowed::{AllowedReferences, PatternError};
pub use forms::{
    DeliveryId, FORMS, SenderForm, SenderKind, SignatureForm, SignatureHeader, delivery_headers,
    signature_headers,
};

/// Most pushes that are read from one document. A registry whose receiver was away sends the missed
/// events together.
pub const PUSHES_MAX: usize = 100;

/// A tag that was moved or created.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Push {
    /// The registry as references name it, if the document says it. The events of a CNCF registry
    /// do not, because the registry does not know the name under which its users reach it.
    pub registry: Option<String>,
    /// The path below the registry: `library/nginx`.
    pub repository: String,
    /// The tag; absent if the document does not say it, and then it may be any.
    pub tag: Option<String>,
    /// The digest that the document names. It is a hint and nothing more: the registry is asked.
    pub digest: Option<Digest>,
}

impl Push {
    /// Whether a container with this reference must be checked.
    #[must_use]
    pub fn concerns(&self, reference: &Reference) -> bool {
        self.repository == reference.repository
            && self.registry.as_ref().is_none_or(|registry| *registry == reference.registry)
            && self.tag.as_ref().is_none_or(|tag| Some(tag) == reference.tag.as_ref())
    }

    /// The complete reference, with its tag and without the digest. Absent if the document does not
    /// say the registry and the tag, or if they are no valid reference.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        let (registry, tag) = (self.registry.as_ref()?, self.tag.as_ref()?);
        let reference: Reference = format!("{registry}/{}:{tag}", self.repository).parse().ok()?;
        // A text that has another meaning than its parts is not used.
        let is_same = reference.registry == *registry
            && reference.repository == self.repository
            && reference.tag.as_ref() == Some(tag)
            && reference.digest.is_none();
        is_same.then_some(reference)
    }

    /// Reads a text that is written like a reference: `ghcr.io/shop/till:v1`.
    fn named(text: &str) -> Option<Self> {
        let Reference { registry, repository, tag, digest, .. } = text.parse().ok()?;
        Some(Self { registry: Some(registry), repository, tag, digest })
    }
}

/// The end of a build, from a CI system that names no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The sender's name of the project: `gh/shop/till`.
    pub name: String,
    pub ok: bool,
    /// The page of the build, for a person. The agent never opens it.
    pub url: Option<String>,
}

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookContent {
    /// The pushed tags, each once. The list is empty if the sender cannot be configured to send
    /// only pushes: registries also report pulls, mounts, and manifests without a tag.
    Pushed(Vec<Push>),
    Built(Build),
    /// A test event or something else that needs no action; the words say what it is.
    Nothing(&'static str),
}

/// Why a document is not a push.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error("this is not JSON")]
    NoJson,
    /// GitHub and Gitea send JSON in a form if a person chose this.
    #[error("this is a form: choose the content type `application/json` for the webhook")]
    Form,
    #[error(
        "this is no webhook that Pilotfish knows: neither the events of a registry, nor a webhook \
         of Docker Hub, GitHub, GitLab, Gitea, Harbor, Quay, Azure, Artifactory, CircleCI or \
         Bitbucket, nor {{\"v\":1,\"pushed\":[\"registry/repository:tag\"]}}"
    )]
    Unknown,
    /// The sender's `kind` is another one.
    #[error("this is a webhook of {found}, but its sender is configured with the kind `{wanted}`")]
    OtherKind { wanted: &'static str, found: &'static str },
    /// The kind is configured, and the document is of no known kind.
    #[error("this is no webhook of {0}")]
    NotOfKind(&'static str),
    /// The kind is known, but the pushed image is missing or has another shape.
    #[error("this looks like a push event of {0}, but it does not name the pushed image")]
    Unreadable(&'static str),
    /// The kind is known, but the event is not a push and need not be sent.
    #[error("this is an event of {0} other than a push: configure it to send push events only")]
    NoPush(&'static str),
    /// Our own form with another version.
    #[error("`v` must be 1: this is the only version of this form")]
    Version,
    /// An entry of our own form cannot be read.
    #[error(
        "`pushed` must be a list of \"registry/repository:tag\" or \
         {{\"ref\":\"registry/repository:tag\",\"digest\":\"sha256:…\"}}; entry {0} is neither"
    )]
    Entry(usize),
}

/// A webhook that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub content: WebhookContent,
    /// The identity of this delivery, if the sender writes it into the body.
    pub delivery: Option<String>,
}

/// What a reader of one sender returns: absent if the document is none of this sender.
type WebhookRead = Option<Result<WebhookContent, WebhookError>>;

/// Reads a webhook of one kind of sender.
///
/// # Errors
/// The document is of an unknown or another kind, or reports something other than a push.
pub fn parse(kind: SenderKind, bytes: &[u8]) -> Result<Webhook, WebhookError> {
    let is_form = bytes.starts_with(b"payload=");
    let no_json = |_| if is_form { WebhookError::Form } else { WebhookError::NoJson };
    let document: Value = serde_json::from_slice(bytes).map_err(no_json)?;
    let found = FORMS.iter().filter(|form| kind.includes(form.kind));
    let found = found.filter_map(|form| Some((form, (form.read)(&document)?))).next();
    let Some((form, content)) = found else { return Err(none_of(kind, &document)) };
    let content = match content? {
        WebhookContent::Pushed(mut pushed) => {
            pushed.truncate(PUSHES_MAX);
            pushed.sort_unstable();
            pushed.dedup();
            WebhookContent::Pushed(pushed)
        }
        other => other,
    };
    let in_body = form.deliveries.iter().find_map(|delivery| match delivery {
        DeliveryId::Body(pointer) => text(&document, pointer),
        DeliveryId::Header(_) => None,
    });
    Ok(Webhook { content, delivery: in_body.map(str::to_owned) })
}

/// Why no reader of this kind took the document.
fn none_of(kind: SenderKind, document: &Value) -> WebhookError {
    let Some(wanted) = FORMS.iter().find(|form| form.kind == kind) else {
        return WebhookError::Unknown;
    };
    let other = FORMS.iter().find(|form| (form.read)(document).is_some());
    other.map_or(WebhookError::NotOfKind(wanted.name), |other| WebhookError::OtherKind {
        wanted: wanted.kind.word(),
        found: other.name,
    })
}

/// A push of one image, or the reason why it could not be read.
fn one(sender: &'static str, pushed: Option<Push>) -> WebhookRead {
    Some(
        pushed
            .map(|pushed| WebhookContent::Pushed(vec![pushed]))
            .ok_or(WebhookError::Unreadable(sender)),
    )
}

/// The end of a build by the sender's word for its state, or a build that has not ended.
fn build(name: &str, state: &str, good: &str, running: &[&str], url: Option<&str>) -> WebhookRead {
    if running.iter().any(|word| word.eq_ignore_ascii_case(state)) {
        return Some(Ok(WebhookContent::Nothing("the build has not ended, or did not run")));
    }
    let ok = state.eq_ignore_ascii_case(good);
    let (name, url) = (name.to_owned(), url.map(str::to_owned));
    Some(Ok(WebhookContent::Built(Build { name, ok, url })))
}

/// The digest at this place, if it is one.
fn digest(value: &Value, pointer: &str) -> Option<Digest> {
    text(value, pointer)?.parse().ok()
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
mod tests;
