//! `POST /v1/webhook`: a registry reports a push, and the containers that follow it are checked at
//! once instead of at the next tick. On a separate address, which is off by default.
//!
//! A client with a secret can only cause a `HEAD` for containers that are watched anyway: the
//! content of a webhook is not trusted.
//!
//! The listener reads a webhook and hands it to a [`WebhookSink`], whose answer becomes the code.

mod agent_sink;
mod deliveries;
mod secret;
mod senders;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::{ConnectionLimits, nothing_at};
use crate::metrics::Metrics;

pub use agent_sink::{AgentSink, PushHearers, pass_on, queue};
pub use secret::SecretError;
use senders::{Received, WebhookRequest};
pub use senders::{SendersError, WebhookSenders};
pub use sink::{SinkError, WebhookNews, WebhookSink};

/// Largest webhook in bytes. GitHub's webhooks have some tens of kilobytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Registries send one webhook at a time, and wait ten seconds.
pub const LIMITS: ConnectionLimits =
    ConnectionLimits { connections: 16, connections_of_one: 4, ..ConnectionLimits::DEFAULT };

/// How a webhook was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebhookOutcome {
    /// A push or a build was read, and the receiver took it.
    Accepted,
    /// This delivery was accepted before.
    Repeated,
    /// No push, from a sender that cannot be configured to send only pushes, or a test.
    Nothing,
    /// Nothing was read, or the receiver takes no such news.
    Unreadable,
    /// The sender may not report these references.
    NotAllowed,
    Unauthorized,
    /// The receiver cannot take it now.
    Busy,
}

impl WebhookOutcome {
    /// The value of the metric's label.
    const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Nothing => "nothing",
            Self::Unreadable => "unreadable",
            Self::NotAllowed => "not_allowed",
            Self::Unauthorized => "unauthorized",
            Self::Busy => "busy",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Accepted | Self::Repeated => StatusCode::ACCEPTED,
            Self::Nothing => StatusCode::OK,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

struct WebhookState<S> {
    senders: WebhookSenders,
    sink: S,
    metrics: Arc<Metrics>,
}

/// The only page of the address.
pub fn router<S: WebhookSink>(senders: WebhookSenders, sink: S, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/v1/webhook", post(receive::<S>))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(|| async { nothing_at("This address has POST /v1/webhook.\n") })
        .with_state(Arc::new(WebhookState { senders, sink, metrics }))
}

async fn receive<S: WebhookSink>(
    State(state): State<Arc<WebhookState<S>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = WebhookRequest { uri: &uri, headers: &headers, body: &body };
    let (sender, received) = state.senders.receive(request);
    let count = |outcome: WebhookOutcome| state.metrics.webhook(sender, outcome.word());
    match received {
        Received::Answer { outcome, status, words } => {
            count(outcome);
            // Without a secret nothing is logged, because any client could fill the log.
            if outcome != WebhookOutcome::Unauthorized {
                tracing::debug!(sender, outcome = outcome.word(), "a webhook: {words}");
            }
            answer(status, &words, Duration::ZERO)
        }
        Received::News { news, refused, delivery } => {
            if refused > 0 {
                count(WebhookOutcome::NotAllowed);
            }
            // Two equal deliveries at the same moment are both taken: a sink must be able to take
            // one twice anyway, because the sender may not have got the answer.
            let (outcome, words, retry_after) = match state.sink.take(sender, news).await {
                Ok(()) => {
                    state.senders.remember(delivery);
                    (WebhookOutcome::Accepted, String::new(), Duration::ZERO)
                }
                Err(SinkError::Busy { why, retry_after }) => {
                    (WebhookOutcome::Busy, why, retry_after)
                }
                Err(SinkError::Unwanted(why)) => (WebhookOutcome::Unreadable, why, Duration::ZERO),
            };
            count(outcome);
            tracing::debug!(sender, outcome = outcome.word(), "a webhook: {words}");
            answer(outcome.status(), &words, retry_after)
        }
    }
}

fn answer(status: StatusCode, words: &str, retry_after: Duration) -> Response {
    if words.is_empty() {
        return status.into_response();
    }
    let text = format!("{words}\n");
    match status {
        StatusCode::UNAUTHORIZED => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pilotfish\"")];
            (status, challenge, text).into_response()
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            // The header has whole seconds (RFC 9110, 10.2.3).
            let seconds = retry_after.as_secs().max(1).to_string();
            (status, [(header::RETRY_AFTER, seconds)], text).into_response()
        }
        _ => (status, text).into_response(),
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
