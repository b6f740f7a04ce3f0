//! The agent's end of the control socket.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde::Serialize;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::{ControlLine, ControlRequest, Status};
use crate::agent::{
    AgentHandle, Allow, AskError, EventFilter, Pending, Question, Recover, RollBack, Subscription,
};
use crate::core::decide::snapshot::Snapshot;
use crate::core::update::event::Asker;

/// Creates the socket. The lock of the state directory is held, so an existing socket was left
/// behind by an agent that was killed.
///
/// # Errors
/// The system's; a path of more than 108 bytes is one of them.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, agent: AgentHandle, stop: CancellationToken) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/healthz", get(healthz))
        .route("/v1/ask", post(ask))
        .with_state(agent);
    // Whoever waits for an answer when the agent ends sees the connection close.
    tokio::select! {
        () = stop.cancelled() => {}
        _ = axum::serve(listener, router) => {}
    }
}

async fn status(State(agent): State<AgentHandle>) -> Json<Status> {
    let snapshot = agent.snapshot().as_ref().clone();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Status { version, pid: std::process::id(), snapshot })
}

async fn healthz(State(agent): State<AgentHandle>) -> Response {
    match agent.unhealthy_reason() {
        Some(unhealthy_reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, unhealthy_reason).into_response()
        }
        None => "ok".into_response(),
    }
}

async fn ask(State(agent): State<AgentHandle>, Json(request): Json<ControlRequest>) -> Response {
    let busy = waits_for(&request, &agent.snapshot());
    match request {
        ControlRequest::Round(round) => {
            let names = round.names.clone();
            follow(&agent, round, names, busy)
        }
        ControlRequest::RollBack { container } => {
            let names = Some(BTreeSet::from([container.clone()]));
            follow(&agent, RollBack { container }, names, busy)
        }
        ControlRequest::Allow { container } => {
            follow(&agent, Allow { container }, Some(BTreeSet::new()), busy)
        }
        ControlRequest::Recover => follow(&agent, Recover, None, busy),
    }
}

/// The containers in flight that a request waits for. A request that only looks waits for none.
fn waits_for(request: &ControlRequest, snapshot: &Snapshot) -> Option<String> {
    let concerns = |container: &String| match request {
        ControlRequest::Round(round) => {
            let is_named = round.names.as_ref().is_none_or(|names| names.contains(container));
            !round.dry_run && is_named
        }
        ControlRequest::RollBack { container: name } => name == container,
        ControlRequest::Recover | ControlRequest::Allow { .. } => false,
    };
    let in_flight = snapshot.in_flight.iter().map(|update| update.container.clone());
    let awaited: Vec<_> = in_flight.filter(concerns).collect();
    (!awaited.is_empty()).then(|| awaited.join(", "))
}

/// Asks the agent, and answers with lines: the events of the question and of the containers that it
/// names, while they happen, and at the end the answer.
fn follow<Q>(
    agent: &AgentHandle,
    question: Q,
    containers: Option<BTreeSet<String>>,
    busy: Option<String>,
) -> Response
where
    Q: Question<Answer: Serialize>,
{
    // Subscribed first, so that no event of the question is missed.
    let mut events = agent.subscribe(EventFilter::ALL, None);
    let pending = match agent.begin(Asker::CommandLine, question) {
        Ok(pending) => pending,
        Err(error) => return lines(stream::iter([ControlLine::Failed(error.to_string())])),
    };
    events.narrow(EventFilter { ask: Some(pending.id), containers });
    let progress = Progress { busy, events, pending: Some(pending) };
    lines(stream::unfold(progress, Progress::next))
}

/// The events of a question while they happen, and then its answer.
struct Progress<T> {
    busy: Option<String>,
    events: Subscription,
    /// Absent once the answer was sent.
    pending: Option<Pending<T>>,
}

impl<T: Serialize> Progress<T> {
    async fn next(mut self) -> Option<(ControlLine, Self)> {
        if let Some(busy) = self.busy.take() {
            return Some((ControlLine::Waiting(busy), self));
        }
        let pending = self.pending.as_mut()?;
        let answer = tokio::select! {
            biased;
            Some(event) = self.events.next() => {
                return Some((ControlLine::Event(event.as_ref().clone()), self));
            }
            answer = pending.answer() => answer,
        };
        self.pending = None;
        Some((last_line(answer), self))
    }
}

fn last_line<T: Serialize>(answer: Result<T, AskError>) -> ControlLine {
    match answer.map(serde_json::to_value) {
        Ok(Ok(answer)) => ControlLine::Answer(answer),
        Ok(Err(error)) => ControlLine::Failed(error.to_string()),
        Err(error) => ControlLine::Failed(error.to_string()),
    }
}

fn lines(lines: impl futures_util::Stream<Item = ControlLine> + Send + 'static) -> Response {
    use futures_util::StreamExt as _;
    let bytes = lines.map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    Body::from_stream(bytes).into_response()
}
