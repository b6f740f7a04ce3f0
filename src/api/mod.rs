//! Layer 3: HTTP on the listen address: `/metrics`, `/healthz`, `/readyz`; and, on a separate
//! address, the webhooks of registries.
//!
//! The listen address only reads: no request there changes anything, and no client can block the
//! agent.

mod connections;
mod allowed_hosts;
mod tls;
pub mod push;
pub mod webhook;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use prometheus::TEXT_FORMAT;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::Heartbeat;
use crate::core::decide::snapshot::{LOOP_HAS_ENDED, Snapshot};
use crate::core::subject;
use crate::metrics::Metrics;
use crate::output::one_line;

pub use allowed_hosts::{AllowedHosts, guarded};
pub use connections::{ConnectionLimits, serve, serve_tls};
pub use tls::{ServerTls, ServerTlsError};
pub use webhook::{SecretError, SendersError, SinkError, WebhookNews, WebhookSenders, WebhookSink};

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Another program listens there.
    #[error(
        "{address} is used by another program (`ss -ltnp` shows which): set {key} to \
         another port, or to \"\" to switch it off"
    )]
    Taken {
        /// The key of the configuration.
        key: &'static str,
        address: SocketAddr,
    },
    /// This machine does not have that address.
    #[error(
        "this machine does not have the address {address}: set {key} to one of its own, \
         or to 0.0.0.0 for all of them"
    )]
    NotHere {
        /// The key of the configuration.
        key: &'static str,
        address: SocketAddr,
    },
    /// The system does not let this user listen there.
    #[error("this user may not listen on {address}: set {key} to a port above 1023")]
    NotAllowed {
        /// The key of the configuration.
        key: &'static str,
        address: SocketAddr,
    },
    #[error("cannot listen on {address} ({key})")]
    Other {
        /// The key of the configuration.
        key: &'static str,
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Starts to listen on the address of that key; connections wait until [`serve`] takes them.
///
/// # Errors
/// Says what prevents it, and which key to change.
pub async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ApiError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ApiError::Taken { key, address },
        ErrorKind::AddrNotAvailable => ApiError::NotHere { key, address },
        ErrorKind::PermissionDenied => ApiError::NotAllowed { key, address },
        _ => ApiError::Other { key, address, source },
    })
}

/// The data for the answers.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The state of the agent. Its loop holds the sender: if the sender is gone, the loop has
    /// ended.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The heartbeat of that loop.
    pub heart: Heartbeat,
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub now: fn() -> DateTime<Utc>,
}

impl ApiState {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Why the agent is unhealthy.
    fn unhealthy_reason(&self) -> Option<String> {
        if self.has_ended() {
            return Some(LOOP_HAS_ENDED.to_owned());
        }
        let unhealthy_reason = self.snapshot().unhealthy_reason(self.heart.overdue());
        unhealthy_reason.map(|unhealthy_reason| one_line(&unhealthy_reason))
    }

    /// Why the agent is not ready.
    fn not_ready_reason(&self) -> Option<String> {
        if self.has_ended() {
            return Some(LOOP_HAS_ENDED.to_owned());
        }
        let snapshot = self.snapshot();
        let missing = "the Engine has not answered yet, or interrupted updates are being finished";
        if !snapshot.is_ready {
            return Some(because(missing.to_owned(), &snapshot));
        }
        let down = one_line(&subject::in_words(&snapshot.down));
        (!down.is_empty())
            .then(|| format!("an update left this down, and the agent tries to start it: {down}"))
    }

    fn has_ended(&self) -> bool {
        self.snapshot.has_changed().is_err()
    }
}

fn because(what: String, snapshot: &Snapshot) -> String {
    match &snapshot.error {
        Some(error) => format!("{what}: {}", one_line(error)),
        None => what,
    }
}

/// The pages of the listen address. Every other path is 404, every other method but HEAD 405.
pub fn router(facts: ApiState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(nothing_here)
        .with_state(facts)
}

async fn metrics(State(facts): State<ApiState>) -> Response {
    let text = facts.metrics.render(&facts.snapshot(), (facts.now)());
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response()
}

async fn healthz(State(facts): State<ApiState>) -> Response {
    verdict(facts.unhealthy_reason())
}

async fn readyz(State(facts): State<ApiState>) -> Response {
    verdict(facts.not_ready_reason())
}

fn verdict(error: Option<String>) -> Response {
    match error {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn nothing_here() -> Response {
    nothing_at("This address has /metrics, /healthz and /readyz.\n")
}

fn nothing_at(there_is: &'static str) -> Response {
    (StatusCode::NOT_FOUND, there_is).into_response()
}
