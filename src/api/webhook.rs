//! `POST /v1/webhook`: a registry says that something was pushed, and what follows it is checked at
//! once instead of at the next tick. On an address of its own, which is off by default.
//!
//! Whoever knows the token can bring about a `HEAD` for containers that are watched anyway, and no
//! more: nothing of a notification is believed.

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

use super::webhook_token::WebhookToken;
use super::{ConnectionLimits, nothing_at};
use crate::agent::{AgentHandle, CheckPushed};
use crate::core::docker::webhook::{Push, WebhookError, parse};
use crate::core::update::event::Asker;

/// Largest notification, in bytes. GitHub's webhooks have some tens of kilobytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// How many notifications may wait for the agent. A registry that is told to wait tries again.
const WAITING_MAX: usize = 64;

/// How long more notifications are gathered after the first: one push of a multi-platform image is
/// several events, and a person who pushes several images does so in one go.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// The least time from one round by notification to the next, so that nobody keeps the agent busy
/// by pushing all the time.
const PAUSE: Duration = Duration::from_secs(1);

/// Registries and webhooks send one notification at a time, and have ten seconds of patience.
pub const LIMITS: ConnectionLimits =
    ConnectionLimits { connections: 16, connections_of_one: 4, ..ConnectionLimits::DEFAULT };

/// Both ends of the queue of pushes.
#[must_use]
pub fn queue() -> (mpsc::Sender<Vec<Push>>, mpsc::Receiver<Vec<Push>>) {
    mpsc::channel(WAITING_MAX)
}

#[derive(Clone)]
struct WebhookAuthorization {
    token: Arc<WebhookToken>,
    pushes: mpsc::Sender<Vec<Push>>,
}

/// The one page of the address.
pub fn router(token: WebhookToken, pushes: mpsc::Sender<Vec<Push>>) -> Router {
    Router::new()
        .route("/v1/webhook", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(|| async { nothing_at("Here is POST /v1/webhook.\n") })
        .with_state(WebhookAuthorization { token: Arc::new(token), pushes })
}

async fn receive(
    State(keeper): State<WebhookAuthorization>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !keeper.token.opens(&uri, &headers, &body) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pilotfish\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "the token is missing or wrong\n")
            .into_response();
    }
    let pushed = match parse(&body) {
        Err(error) => return (status_of(error), format!("{error}\n")).into_response(),
        // A registry tells of pulls as well, and sends the same again until it is answered well.
        Ok(pushed) if pushed.is_empty() => {
            return "no tag of an image was pushed\n".into_response();
        }
        Ok(pushed) => pushed,
    };
    if keeper.pushes.try_send(pushed).is_err() {
        let later = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, later, "too many notifications wait already\n")
            .into_response();
    }
    StatusCode::ACCEPTED.into_response()
}

const fn status_of(error: WebhookError) -> StatusCode {
    match error {
        WebhookError::NoJson => StatusCode::BAD_REQUEST,
        WebhookError::Unknown | WebhookError::Unreadable(_) | WebhookError::NoPush(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    }
}

/// Hands pushes on to the agent, those that come together as one wish.
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
    // The answer comes before any registry's: one that hangs holds up no other push.
    match agent.ask(Asker::Webhook, question).await {
        Ok(containers) => tracing::info!(pushes, containers, "checking what was pushed"),
        // The agent has told of a round that could not run.
        Err(_) => tracing::debug!(pushes, "what was pushed could not be checked"),
    }
}
