//! `POST /v1/webhook`: a registry reports a push, and the containers that follow it are checked at
//! once instead of at the next tick. On a separate address, which is off by default.
//!
//! A client with the token can only cause a `HEAD` for containers that are watched anyway: the
//! content of a webhook is not trusted.

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

/// The only page of the address.
pub fn router(token: WebhookToken, pushes: mpsc::Sender<Vec<Push>>) -> Router {
    Router::new()
        .route("/v1/webhook", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(|| async { nothing_at("This address has POST /v1/webhook.\n") })
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
        // A registry also reports pulls, and repeats an event until it gets a good answer.
        Ok(pushed) if pushed.is_empty() => {
            return "no tag of an image was pushed\n".into_response();
        }
        Ok(pushed) => pushed,
    };
    if keeper.pushes.try_send(pushed).is_err() {
        let later = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, later, "too many webhooks wait already\n")
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
