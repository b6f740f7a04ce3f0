//! `POST /v1/webhook`: a registry reports a push, and the containers that follow it are checked at
//! once instead of at the next tick. On a separate address, which is off by default.
//!
//! A client with a secret can only cause a `HEAD` for containers that are watched anyway: the
//! content of a webhook is not trusted.

mod deliveries;
mod secret;
mod senders;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ConnectionLimits, nothing_at};
use crate::agent::{AgentHandle, CheckPushed};
use crate::core::docker::webhook::Push;
use crate::core::update::event::Asker;
use crate::metrics::Metrics;

pub use secret::SecretError;
use senders::{Received, WebhookRequest};
pub use senders::{SendersError, WebhookSenders};

/// Largest webhook in bytes. GitHub's webhooks have some tens of kilobytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Most webhooks that wait for the agent. A registry that has to wait tries again.
const WAITING_MAX: usize = 64;

/// How long further webhooks are gathered after the first: one push of a multi-platform image is
/// several events, and a person who pushes several images does so in one go.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Shortest time between two rounds by webhook, so that constant pushes do not keep the agent busy.
const PAUSE: Duration = Duration::from_secs(1);

/// Registries send one webhook at a time, and wait ten seconds.
pub const LIMITS: ConnectionLimits =
    ConnectionLimits { connections: 16, connections_of_one: 4, ..ConnectionLimits::DEFAULT };

/// How a webhook was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebhookOutcome {
    /// A push was read, and the agent looks.
    Accepted,
    /// This delivery was accepted before.
    Repeated,
    /// No push, from a sender that cannot be configured to send only pushes, or a test.
    Nothing,
    Unreadable,
    /// The sender may not tell of these references.
    NotAllowed,
    Unauthorized,
    /// Too many webhooks wait.
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

/// Both ends of the queue of pushes.
#[must_use]
pub fn queue() -> (mpsc::Sender<Vec<Push>>, mpsc::Receiver<Vec<Push>>) {
    mpsc::channel(WAITING_MAX)
}

#[derive(Clone)]
struct WebhookState {
    senders: Arc<WebhookSenders>,
    pushes: mpsc::Sender<Vec<Push>>,
    metrics: Arc<Metrics>,
}

/// The only page of the address.
pub fn router(
    senders: WebhookSenders,
    pushes: mpsc::Sender<Vec<Push>>,
    metrics: Arc<Metrics>,
) -> Router {
    Router::new()
        .route("/v1/webhook", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(|| async { nothing_at("This address has POST /v1/webhook.\n") })
        .with_state(WebhookState { senders: Arc::new(senders), pushes, metrics })
}

async fn receive(
    State(state): State<WebhookState>,
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
            answer(status, &words)
        }
        Received::Pushed { pushed, refused, delivery } => {
            if refused > 0 {
                count(WebhookOutcome::NotAllowed);
            }
            if state.pushes.try_send(pushed).is_err() {
                count(WebhookOutcome::Busy);
                return answer(WebhookOutcome::Busy.status(), "too many webhooks wait already");
            }
            count(WebhookOutcome::Accepted);
            state.senders.remember(delivery);
            StatusCode::ACCEPTED.into_response()
        }
    }
}

fn answer(status: StatusCode, words: &str) -> Response {
    let text = format!("{words}\n");
    match status {
        StatusCode::UNAUTHORIZED => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pilotfish\"")];
            (status, challenge, text).into_response()
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            (status, [(header::RETRY_AFTER, "1")], text).into_response()
        }
        _ => (status, text).into_response(),
    }
}

/// Passes pushes on to the agent; pushes that arrive together become one command.
pub async fn pass_on(
    mut pushes: mpsc::Receiver<Vec<Push>>,
    agent: AgentHandle,
    stop: CancellationToken,
) {
    while let Some(Some(first)) = stop.run_until_cancelled(pushes.recv()).await {
        let mut gathered = BTreeSet::from_iter(first);
        tokio::time::sleep(GATHER_TIME).await;
        while let Ok(more) = pushes.try_recv() {
            gathered.extend(more);
        }
        if stop.run_until_cancelled(check(gathered, &agent)).await.is_none() {
            return;
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn check(pushed: BTreeSet<Push>, agent: &AgentHandle) {
    let pushes = pushed.len();
    let question = CheckPushed(pushed.into_iter().collect());
    // The sender gets its answer before any registry has answered, so that a registry that hangs
    // delays no other push.
    match agent.ask(Asker::Webhook, question).await {
        Ok(containers) => tracing::info!(pushes, containers, "checking what was pushed"),
        // The agent has already reported a round that could not run.
        Err(_) => tracing::debug!(pushes, "what was pushed could not be checked"),
    }
}
