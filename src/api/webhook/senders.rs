//! The configured senders, and what one of their requests says.

use axum::http::{HeaderMap, StatusCode, Uri};
use chrono::{DateTime, Utc};

use super::deliveries::{DeliveryKey, RecentDeliveries};
use super::secret::{Proof, SecretError, WebhookSecret};
use super::{WebhookNews, WebhookOutcome};
use crate::config::WebhookSenderSettings;
use crate::core::docker::webhook::{
    AllowedReferences, Build, FORMS, Push, SenderKind, WebhookContent, delivery_headers, parse,
};
use crate::core::text::shown;

/// The metric's label of requests without the secret of any sender.
const NO_SENDER: &str = "";

/// A request to the webhook address. It has no `Debug`, because its URI and its headers may have
/// the secret.
#[derive(Clone, Copy)]
pub(super) struct WebhookRequest<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> WebhookRequest<'a> {
    pub(super) fn header(self, name: &str) -> Option<&'a str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What a request says.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    News {
        news: WebhookNews,
        /// Pushes in the same webhook that the sender may not report.
        refused: usize,
        delivery: Option<DeliveryKey>,
    },
    Answer {
        outcome: WebhookOutcome,
        status: StatusCode,
        words: String,
    },
}

impl Received {
    fn answer(outcome: WebhookOutcome, words: impl Into<String>) -> Self {
        Self::Answer { outcome, status: outcome.status(), words: words.into() }
    }
}

/// One sender with its secret.
#[derive(Debug)]
struct WebhookSender {
    name: String,
    kind: SenderKind,
    secret: WebhookSecret,
    references: AllowedReferences,
    build: Option<String>,
}

/// All senders, and what they sent lately.
#[derive(Debug)]
pub struct WebhookSenders {
    senders: Vec<WebhookSender>,
    recent: RecentDeliveries,
    now: fn() -> DateTime<Utc>,
}

/// Why the senders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SendersError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret is what tells senders apart.
    #[error(
        "the senders `{one}` and `{other}` of [webhook] have the same secret: give each one its \
         own, because the secret tells which of them a webhook comes from"
    )]
    SameSecret { one: String, other: String },
}

impl WebhookSenders {
    /// Reads the secrets of all senders.
    ///
    /// # Errors
    /// A secret cannot be read, is easy to guess, or belongs to two senders.
    pub fn read(
        settings: &[WebhookSenderSettings],
        now: fn() -> DateTime<Utc>,
    ) -> Result<Self, SendersError> {
        let mut senders: Vec<WebhookSender> = Vec::new();
        for sender in settings {
            let WebhookSenderSettings { name, kind, secret_file, references, build, key } =
                sender.clone();
            let secret = WebhookSecret::read(&key, &secret_file)?;
            if let Some(same) = senders.iter().find(|other| other.secret.is(&secret)) {
                return Err(SendersError::SameSecret { one: same.name.clone(), other: name });
            }
            senders.push(WebhookSender { name, kind, secret, references, build });
        }
        Ok(Self { senders, recent: RecentDeliveries::default(), now })
    }

    /// What a request says, and the name of its sender.
    pub(super) fn receive(&self, request: WebhookRequest<'_>) -> (&str, Received) {
        let now = (self.now)();
        let proofs = self.senders.iter().map(|it| (it.secret.proof(it.kind, request, now), it));
        // The first of equal proofs: two senders cannot both be right.
        let best = proofs.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let Some((Proof::Right, sender)) = best else {
            let words = words_of(best.map_or(Proof::Missing, |(proof, _)| proof));
            return (NO_SENDER, Received::answer(WebhookOutcome::Unauthorized, words));
        };
        (&sender.name, self.read_body(sender, request))
    }

    fn read_body(&self, sender: &WebhookSender, request: WebhookRequest<'_>) -> Received {
        let webhook = match parse(sender.kind, request.body) {
            Ok(webhook) => webhook,
            Err(error) => return Received::answer(WebhookOutcome::Unreadable, error.to_string()),
        };
        let id = delivery_headers(sender.kind).find_map(|name| request.headers.get(name));
        let id = id.map(|id| id.as_bytes()).or(webhook.delivery.as_deref().map(str::as_bytes));
        let delivery = id.map(|id| DeliveryKey::new(&sender.name, id));
        if delivery.is_some_and(|key| self.recent.contains(key)) {
            let words = "this delivery was accepted before, and is not looked at again";
            return Received::answer(WebhookOutcome::Repeated, words);
        }
        match webhook.content {
            WebhookContent::Nothing(words) => {
                let words = format!("{words}; no image was pushed");
                Received::answer(WebhookOutcome::Nothing, words)
            }
            WebhookContent::Built(build) => sender.built(build, delivery),
            WebhookContent::Pushed(pushed) if pushed.is_empty() => {
                Received::answer(WebhookOutcome::Nothing, "no tag of an image was pushed")
            }
            WebhookContent::Pushed(pushed) => sender.allow(pushed, delivery),
        }
    }

    /// A repetition of this delivery does nothing from now on.
    pub(super) fn remember(&self, delivery: Option<DeliveryKey>) {
        if let Some(key) = delivery {
            self.recent.insert(key);
        }
    }
}

impl WebhookSender {
    /// The end of a build, under the name that the configuration gives it: other programs react to
    /// this name, so a sender must not choose it.
    fn built(&self, build: Build, delivery: Option<DeliveryKey>) -> Received {
        let Some(name) = self.build.clone() else {
            let words = format!(
                "this webhook names no image but the build {}, and the sender {} has no `build` in \
                 its configuration",
                shown(&build.name),
                self.name
            );
            return Received::answer(WebhookOutcome::Unreadable, words);
        };
        let news = WebhookNews::Built(Build { name, ..build });
        Received::News { news, refused: 0, delivery }
    }

    /// The pushes that this sender may report.
    fn allow(&self, pushed: Vec<Push>, delivery: Option<DeliveryKey>) -> Received {
        let first = pushed.first().map(|push| match &push.registry {
            Some(registry) => format!("{registry}/{}", push.repository),
            None => push.repository.clone(),
        });
        let is_events = pushed.iter().all(|push| push.registry.is_none());
        let (pushed, refused) = self.references.filter(pushed);
        if !pushed.is_empty() {
            return Received::News { news: WebhookNews::Pushed(pushed), refused, delivery };
        }
        let words = format!(
            "the sender {} may not report {}: its `references` do not contain it",
            self.name,
            shown(&first.unwrap_or_default())
        );
        let outcome = WebhookOutcome::NotAllowed;
        // An error would hold back every later event of such a registry.
        let status = if is_events && self.insists() { StatusCode::OK } else { outcome.status() };
        Received::Answer { outcome, status, words }
    }

    /// Whether this may be a sender that repeats an event until the answer is good.
    fn insists(&self) -> bool {
        FORMS.iter().any(|form| form.insists && self.kind.includes(form.kind))
    }
}

fn words_of(proof: Proof) -> &'static str {
    match proof {
        Proof::Missing => {
            "the secret is missing: send it as `Authorization: Bearer`, as `?token=`, or as the \
             secret with which the sender signs"
        }
        Proof::Stale => {
            "this webhook was signed more than five minutes before or after this machine's time: \
             it is an old one that was sent again, or one of the two clocks is wrong"
        }
        Proof::Wrong | Proof::Right => "the secret is wrong",
    }
}

#[cfg(test)]
#[path = "senders_tests.rs"]
mod tests;
