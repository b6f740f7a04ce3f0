//! The agent's end of the control socket.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{ControlLine, Status};
use crate::agent::{AgentCommand, CommandReply, Heartbeat, QueuedCommand};
use crate::core::decide::snapshot::{LOOP_HAS_ENDED, Snapshot};
use crate::core::subject::{self, Subject};
use crate::core::update::event::{Event, Listener};

/// How many events a slow listener may lag behind before it misses some. A pull makes ten a second.
const EVENTS_BEHIND_MAX: usize = 512;

/// How many wishes may wait for the loop; one person types one at a time.
pub const COMMANDS_WAITING_MAX: usize = 16;

/// Passes events on to whoever listens at the moment.
#[derive(Debug, Clone)]
pub struct Broadcast(broadcast::Sender<Event>);

impl Default for Broadcast {
    fn default() -> Self {
        Self(broadcast::Sender::new(EVENTS_BEHIND_MAX))
    }
}

impl Listener for Broadcast {
    fn hear(&self, event: &Event) {
        // Nobody listens most of the time.
        let _ = self.0.send(event.clone());
    }
}

/// What the socket's end needs of the agent.
#[derive(Clone)]
pub struct ControlState {
    /// Where wishes go.
    pub queue: mpsc::Sender<QueuedCommand>,
    /// Where events come from.
    pub events: Broadcast,
    /// How things stand.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The heartbeat of the loop.
    pub heart: Heartbeat,
}

/// Takes the socket. The lock of the state directory is held, so a socket that is there was left
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
pub async fn serve(listener: UnixListener, facts: ControlState, stop: CancellationToken) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/healthz", get(healthz))
        .route("/v1/wish", post(command))
        .with_state(facts);
    // Whoever waits for an answer when the agent ends sees the connection close.
    tokio::select! {
        () = stop.cancelled() => {}
        _ = axum::serve(listener, router) => {}
    }
}

async fn status(State(facts): State<ControlState>) -> Json<Status> {
    let snapshot = facts.snapshot.borrow().as_ref().clone();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Json(Status { version, pid: std::process::id(), snapshot })
}

async fn healthz(State(facts): State<ControlState>) -> Response {
    let has_ended = facts.snapshot.has_changed().is_err().then(|| LOOP_HAS_ENDED.to_owned());
    let snapshot = Arc::clone(&facts.snapshot.borrow());
    match has_ended.or_else(|| snapshot.illness(facts.heart.overdue())) {
        Some(illness) => (StatusCode::SERVICE_UNAVAILABLE, illness).into_response(),
        None => "ok".into_response(),
    }
}

async fn command(State(facts): State<ControlState>, Json(command): Json<AgentCommand>) -> Response {
    let events = facts.events.0.subscribe();
    let busy = waits_for(&command, &facts.snapshot.borrow()).map(ControlLine::Waiting);
    let (answer, answered) = oneshot::channel();
    let queued = QueuedCommand { command, answer };
    if facts.queue.try_send(queued).is_err() {
        let refusal = "the agent is ending, or too many wishes wait already";
        return lines(stream::iter([ControlLine::Failed(refusal.into())]));
    }
    lines(stream::unfold(
        ProgressStream { busy, events, answered: Some(answered) },
        ProgressStream::next,
    ))
}

/// The containers in flight that a command waits for. A command that only looks waits for none.
fn waits_for(command: &AgentCommand, snapshot: &Snapshot) -> Option<String> {
    let concerns = |subject: &Subject| match command {
        AgentCommand::Round(request) => {
            let is_named = request.names.as_ref().is_none_or(|names| names.contains(&subject.name));
            !request.dry_run && is_named
        }
        AgentCommand::RollBack(name) => subject.is_container(name),
        AgentCommand::Recover | AgentCommand::Allow(_) | AgentCommand::Push(_) => false,
    };
    let in_flight = snapshot.in_flight.iter().map(|update| &update.subject);
    let awaited: Vec<_> = in_flight.filter(|subject| concerns(subject)).collect();
    (!awaited.is_empty()).then(|| subject::in_words(awaited))
}

/// Events as they come, then what came of the wish.
struct ProgressStream {
    busy: Option<ControlLine>,
    events: broadcast::Receiver<Event>,
    answered: Option<oneshot::Receiver<Result<CommandReply, crate::agent::CommandError>>>,
}

impl ProgressStream {
    async fn next(mut self) -> Option<(ControlLine, Self)> {
        if let Some(busy) = self.busy.take() {
            return Some((busy, self));
        }
        let answered = self.answered.as_mut()?;
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Ok(event) => return Some((ControlLine::Event(event), self)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                answer = &mut *answered => {
                    let line = match answer {
                        Ok(Ok(reply)) => ControlLine::CommandReply(reply),
                        Ok(Err(error)) => ControlLine::Failed(error.to_string()),
                        Err(_) => ControlLine::Failed("the agent ended before it came to this".into()),
                    };
                    self.answered = None;
                    return Some((line, self));
                }
            }
        }
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
