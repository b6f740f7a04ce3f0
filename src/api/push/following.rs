//! Follows a question to its end, also if the client is gone: its events and its end become lines,
//! its end is audited.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc;

use super::PushState;
use super::audit::Audited;
use super::refusal::ApiRefusal;
use crate::agent::DeploymentActEnd;
use crate::agent::{AskError, EventFilter, LoadEnd, Question, Subscription};
use crate::core::update::event::Asker;
use crate::documents::{AnswerLine, EventRow, PushDocument};

/// Lines that wait for a client. A client that reads too slowly misses events, but not the end.
const LINES_WAITING_MAX: usize = 64;

/// The end of a question, as it is told and audited.
pub(super) struct PushEnd {
    document: PushDocument,
    /// The image that was loaded.
    image: Option<String>,
}

impl From<LoadEnd> for PushEnd {
    fn from(end: LoadEnd) -> Self {
        let document = PushDocument::from(&end);
        let (LoadEnd::Ended { image_id, .. } | LoadEnd::AlreadyRuns { image_id }) = end;
        Self { document, image: Some(image_id) }
    }
}

impl From<DeploymentActEnd> for PushEnd {
    fn from(end: DeploymentActEnd) -> Self {
        Self { document: PushDocument::from(&end), image: None }
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

/// A question that was sent to the agent. All kinds of questions are one type here, so that the
/// code that follows them is in the program once.
pub(super) struct FollowedQuestion {
    events: Subscription,
    answer: BoxFuture<'static, Result<PushEnd, AskError>>,
}

/// Asks, and subscribes to what happens because of it.
pub(super) fn begin<Q: Question>(
    state: &PushState,
    question: Q,
) -> Result<FollowedQuestion, ApiRefusal>
where
    PushEnd: From<Q::Answer>,
{
    // Subscribed before the question is asked, so that no event is missed.
    let mut events = state.agent.subscribe(EventFilter::ALL, None);
    let mut pending = state.agent.begin(Asker::Push, question)?;
    events.narrow(EventFilter { ask: Some(pending.id), containers: Some(BTreeSet::new()) });
    let answer = async move { pending.answer().await.map(PushEnd::from) };
    Ok(FollowedQuestion { events, answer: answer.boxed() })
}

impl FollowedQuestion {
    /// Follows it in a task of its own.
    pub(super) fn follow(
        self,
        state: &PushState,
        audited: Audited,
        sent: TakenBody,
    ) -> AnswerLines {
        let (lines, told) = mpsc::channel(LINES_WAITING_MAX);
        state.tasks.spawn(self.tell(lines, audited, sent).boxed());
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
                answer = &mut self.answer => break answer,
            }
        };
        let last = end(answer, audited, &sent);
        let _ = lines.send(last).await;
    }
}

fn end(answer: Result<PushEnd, AskError>, audited: Audited, sent: &TakenBody) -> ToldLine {
    let bytes = sent.bytes.load(Ordering::Relaxed);
    match answer {
        Ok(PushEnd { document, image }) => {
            audited.done(&document, image, bytes);
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
