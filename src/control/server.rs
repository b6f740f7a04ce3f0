//! The agent's end of the control socket.

use std::collections::BTreeSet;
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
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::RemoteQuestion;
use crate::agent::{
    AgentHandle, Allow, AskError, EventFilter, Pending, Recover, RollBack, RoundRequest,
    Subscription,
};
use crate::core::decide::snapshot::Snapshot;
use crate::core::subject::Subject;
use crate::core::update::event::Asker;
use crate::documents::{AnswerLine, EventRow, MirrorDocument, Request, StatusDocument};

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

/// Carries out the rules of the mirror with these names now; `None` if there is none with one of
/// them. Nothing comes of it if the agent ends.
pub type RunRules = Arc<dyn Fn(BTreeSet<String>) -> Option<RunningRules> + Send + Sync>;

/// A run of rules.
pub type RunningRules = BoxFuture<'static, Option<MirrorDocument>>;

/// Serves until `stop`.
pub async fn serve(
    listener: UnixListener,
    agent: AgentHandle,
    mirror: Option<RunRules>,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/healthz", get(healthz))
        .route("/v1/ask", post(ask))
        .with_state(agent)
        .merge(Router::new().route("/v1/mirror", post(run_rules)).with_state(mirror));
    // When the agent ends, a client that waits for an answer sees the connection close.
    tokio::select! {
        () = stop.cancelled() => {}
        _ = axum::serve(listener, router) => {}
    }
}

async fn status(State(agent): State<AgentHandle>) -> Json<StatusDocument> {
    Json(StatusDocument::new(env!("CARGO_PKG_VERSION"), std::process::id(), &agent.snapshot()))
}

async fn healthz(State(agent): State<AgentHandle>) -> Response {
    match agent.unhealthy_reason() {
        Some(unhealthy_reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, unhealthy_reason).into_response()
        }
        None => "ok".into_response(),
    }
}

async fn run_rules(
    State(mirror): State<Option<RunRules>>,
    Json(names): Json<BTreeSet<String>>,
) -> Response {
    match mirror.and_then(|mirror| mirror(names)) {
        Some(running) => match running.await {
            Some(document) => Json(document).into_response(),
            None => (StatusCode::SERVICE_UNAVAILABLE, "the agent ends").into_response(),
        },
        None => {
            let why = "the agent has no such rule: it reads its configuration at its start and at \
                       SIGHUP";
            (StatusCode::NOT_FOUND, why).into_response()
        }
    }
}

async fn ask(State(agent): State<AgentHandle>, Json(request): Json<Request>) -> Response {
    let busy = waits_for(&request, &agent.snapshot());
    match request {
        Request::Round(round) => {
            let names = round.names.clone();
            follow(&agent, RoundRequest::from(round), names, busy)
        }
        Request::RollBack { container } => {
            let names = Some(BTreeSet::from([container.clone()]));
            follow(&agent, RollBack { container }, names, busy)
        }
        Request::Allow { container } => {
            follow(&agent, Allow { container }, Some(BTreeSet::new()), busy)
        }
        Request::Recover => follow(&agent, Recover, None, busy),
    }
}

/// The containers in flight that a request waits for. A dry run waits for none.
fn waits_for(request: &Request, snapshot: &Snapshot) -> Vec<Subject> {
    let concerns = |subject: &Subject| match request {
        Request::Round(round) => {
            let is_named = round.names.as_ref().is_none_or(|names| names.contains(&subject.name));
            !round.dry_run && is_named
        }
        Request::RollBack { container } => subject.is_container(container),
        Request::Recover | Request::Allow { .. } => false,
    };
    let in_flight = snapshot.in_flight.iter().map(|update| &update.subject);
    in_flight.filter(|subject| concerns(subject)).cloned().collect()
}

/// Asks the agent, and answers with lines: the events of the question and of the containers that it
/// names, as they happen, and the answer at the end.
fn follow<Q>(
    agent: &AgentHandle,
    question: Q,
    containers: Option<BTreeSet<String>>,
    busy: Vec<Subject>,
) -> Response
where
    Q: RemoteQuestion,
{
    // Subscribed before the question is asked, so that no event is missed.
    let mut events = agent.subscribe(EventFilter::ALL, None);
    let pending = match agent.begin(Asker::CommandLine, question) {
        Ok(pending) => pending,
        Err(error) => return lines(stream::iter([AnswerLine::Failed(error.to_string())])),
    };
    events.narrow(EventFilter { ask: Some(pending.id), containers });
    let progress = Progress::<Q> { busy, events, pending: Some(pending) };
    lines(stream::unfold(progress, Progress::next))
}

/// The answer of a question as lines: its events as they happen, and then its answer.
struct Progress<Q: RemoteQuestion> {
    /// The subjects that the question waits for; empty once they were sent.
    busy: Vec<Subject>,
    events: Subscription,
    /// Absent once the answer was sent.
    pending: Option<Pending<Q::Answer>>,
}

impl<Q: RemoteQuestion> Progress<Q> {
    async fn next(mut self) -> Option<(AnswerLine, Self)> {
        if !self.busy.is_empty() {
            return Some((AnswerLine::Waiting(std::mem::take(&mut self.busy)), self));
        }
        let pending = self.pending.as_mut()?;
        let answer = tokio::select! {
            biased;
            Some(event) = self.events.next() => {
                return Some((AnswerLine::Event(EventRow::from(&*event)), self));
            }
            answer = pending.answer() => answer,
        };
        self.pending = None;
        Some((last_line::<Q>(answer), self))
    }
}

fn last_line<Q: RemoteQuestion>(answer: Result<Q::Answer, AskError>) -> AnswerLine {
    match answer.map(|answer| serde_json::to_value(Q::Document::from(&answer))) {
        Ok(Ok(answer)) => AnswerLine::Answer(answer),
        Ok(Err(error)) => AnswerLine::Failed(error.to_string()),
        Err(error) => AnswerLine::Failed(error.to_string()),
    }
}

fn lines(lines: impl futures_util::Stream<Item = AnswerLine> + Send + 'static) -> Response {
    use futures_util::StreamExt as _;
    let bytes = lines.map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    Body::from_stream(bytes).into_response()
}
