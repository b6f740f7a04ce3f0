//! Follows a question to its end, also if the client is gone: its events and its end become lines,
//! its end is audited.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use super::PushState;
use super::audit::Audited;
use super::refusal::ApiRefusal;
use crate::agent::DeploymentActEnd;
use crate::agent::{AskError, EventFilter, LoadEnd, Pending, Question, Subscription};
use crate::core::update::event::Asker;
use crate::documents::{AnswerLine, EventRow, PushDocument};

/// Lines that wait for a client. A client that reads too slowly misses events, but not the end.
const LINES_WAITING_MAX: usize = 64;

/// The end of a question, as it is told and audited.
pub(super) trait PushEnd: Send + 'static {
    fn document(&self) -> PushDocument;

    /// The image that was loaded.
    fn image(&self) -> Option<String>;
}

impl PushEnd for LoadEnd {
    fn document(&self) -> PushDocument {
        PushDocument::from(self)
    }

    fn image(&self) -> Option<String> {
        match self {
            Self::Ended { image_id, .. } | Self::AlreadyRuns { image_id } => Some(image_id.clone()),
        }
    }
}

impl PushEnd for DeploymentActEnd {
    fn document(&self) -> PushDocument {
        PushDocument::from(self)
    }

    fn image(&self) -> Option<String> {
        None
    }
}

/// What the server took of a body, and why it took no more.
#[derive(Debug, Clone, Default)]
pub(super) struct TakenBody {
    bytes: Arc<AtomicU64>,
    refusal: Arc<Mutex<Option<ApiRefusal>>>,
}

impl TakenBody {
    /// Counts bytes; the sum of all.
    pub(super) fn add(&self, bytes: u64) -> u64 {
        self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// The server takes no more, and this is the answer.
    pub(super) fn refuse(&self, refusal: ApiRefusal) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    fn refusal(&self) -> Option<ApiRefusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A question that was sent to the agent.
pub(super) struct FollowedQuestion<T> {
    events: Subscription,
    pending: Pending<T>,
}

/// Asks, and subscribes to what happens because of it.
pub(super) fn begin<Q: Question>(
    state: &PushState,
    question: Q,
) -> Result<FollowedQuestion<Q::Answer>, ApiRefusal> {
    // Subscribed before the question is asked, so that no event is missed.
    let mut events = state.agent.subscribe(EventFilter::ALL, None);
    let pending = state.agent.begin(Asker::Push, question)?;
    events.narrow(EventFilter { ask: Some(pending.id), containers: Some(BTreeSet::new()) });
    Ok(FollowedQuestion { events, pending })
}

impl<T: PushEnd> FollowedQuestion<T> {
    /// Follows it in a task of its own.
    pub(super) fn follow(
        self,
        state: &PushState,
        audited: Audited,
        sent: TakenBody,
    ) -> AnswerLines {
        let (lines, told) = mpsc::channel(LINES_WAITING_MAX);
        state.tasks.spawn(self.tell(lines, audited, sent));
        AnswerLines(told)
    }

    async fn tell(mut self, lines: mpsc::Sender<ToldLine>, audited: Audited, sent: TakenBody) {
        let answer = loop {
            tokio::select! {
                biased;
                Some(event) = self.events.next() => {
                    let event = AnswerLine::Event(EventRow::from(&*event));
                    let _ = lines.try_send(Ok(event));
                }
                answer = self.pending.answer() => break answer,
            }
        };
        let last = end(answer, audited, &sent);
        let _ = lines.send(last).await;
    }
}

fn end<T: PushEnd>(answer: Result<T, AskError>, audited: Audited, sent: &TakenBody) -> ToldLine {
    let bytes = sent.bytes.load(Ordering::Relaxed);
    match answer {
        Ok(end) => {
            let document = end.document();
            audited.done(&document, end.image(), bytes);
            Ok(AnswerLine::Answer(serde_json::to_value(document).unwrap_or_default()))
        }
        Err(error) => {
            // The agent only saw that the body ended too early.
            let refusal = sent.refusal().unwrap_or_else(|| error.into());
            audited.refused(refusal.word, bytes);
            Err(refusal)
        }
    }
}

/// A line, or the refusal that ends everything.
type ToldLine = Result<AnswerLine, ApiRefusal>;

/// What is told of a question.
pub(super) struct AnswerLines(mpsc::Receiver<ToldLine>);

impl AnswerLines {
    /// The first line or refusal; `None` never comes first.
    pub(super) async fn first(&mut self) -> Option<ToldLine> {
        self.0.recv().await
    }

    /// The response: its status is that of the refusal, if that comes first.
    pub(super) async fn respond(mut self) -> Response {
        let first = self.first().await;
        self.respond_from(first)
    }

    /// The same, with the first line taken already.
    pub(super) fn respond_from(self, first: Option<ToldLine>) -> Response {
        let first = match first {
            Some(Ok(line)) => line,
            Some(Err(refusal)) => return refusal.into_response(),
            None => return ApiRefusal::from(AskError::Ended).into_response(),
        };
        let rest = stream::unfold(self, |mut told| async { Some((told.first().await?, told)) });
        use futures_util::StreamExt as _;
        let lines = stream::iter([Ok(first)]).chain(rest).map(|line| {
            let line = line.unwrap_or_else(|refusal| {
                AnswerLine::Failed(format!("{}: {}", refusal.word, refusal.detail))
            });
            let mut text = serde_json::to_vec(&line).unwrap_or_default();
            text.push(b'\n');
            Ok::<_, std::convert::Infallible>(Bytes::from(text))
        });
        let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
        (kind, Body::from_stream(lines)).into_response()
    }
}
