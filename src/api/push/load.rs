//! The body of a load flows to the agent, part by part, as fast as the Engine takes it.

use std::sync::Arc;

use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::audit::Audited;
use super::digest_header::declared_digest;
use super::following::{TakenBody, begin};
use super::refusal::ApiRefusal;
use super::{Caller, PushLimits, PushState, refused};
use crate::agent::{LoadImage, Upload, UploadPart};
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::docker::reference::Digest;

/// Parts of the body that wait for the Engine. A part is what one read of the connection brings,
/// 64 kB at most.
const PARTS_WAITING_MAX: usize = 2;

/// Loads an archive, and answers with what happens because of it.
pub(super) async fn load(
    state: &Arc<PushState>,
    caller: &Caller,
    (deployment, force): (String, bool),
    request: Request,
    audited: Audited,
) -> Response {
    let (size, digest) = match declared(request.headers(), state.size_max) {
        Ok(declared) => declared,
        Err(refusal) => return refused(refusal, audited),
    };
    let (parts, receiver) = mpsc::channel(PARTS_WAITING_MAX);
    let (wanted, is_wanted) = oneshot::channel();
    let upload = Upload { wanted, parts: receiver, size, digest };
    let question = LoadImage { deployment, by: caller.client.name(), force, upload };
    let sent = TakenBody::default();
    let mut told = match begin(state, question) {
        Ok(followed) => followed.follow(state, audited, sent.clone()),
        Err(refusal) => return refused(refusal, audited),
    };
    // The first read of the body answers `Expect: 100-continue`.
    tokio::select! {
        Ok(()) = is_wanted => {}
        first = told.first() => return told.respond_from(first),
    }
    let pump = BodyPump { body: request.into_body().into_data_stream(), parts, sent };
    tokio::select! {
        () = pump.run(state.limits, state.size_max) => told.respond().await,
        first = told.first() => told.respond_from(first),
    }
}

/// The size and the digest that the client declares.
fn declared(
    headers: &HeaderMap,
    size_max: u64,
) -> Result<(Option<u64>, Option<Digest>), ApiRefusal> {
    let size = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if size.is_some_and(|size| size > size_max) {
        return Err(too_large(size_max));
    }
    Ok((size, declared_digest(headers)?))
}

fn too_large(size_max: u64) -> ApiRefusal {
    let detail = format!("an archive has at most {size_max} bytes here (key push.size_max)");
    PushRefusal::new(RefusalWord::TooLarge, detail).into()
}

/// Moves the body to the agent.
struct BodyPump {
    body: BodyDataStream,
    parts: mpsc::Sender<UploadPart>,
    sent: TakenBody,
}

impl BodyPump {
    /// Ends when the body ends, when the agent wants no more, or at a limit. The agent takes a body
    /// that ends without its last part as broken off.
    async fn run(mut self, limits: PushLimits, size_max: u64) {
        let mut left = limits.progress_timeout;
        let mut mark = limits.progress_bytes;
        loop {
            let began = Instant::now();
            let Ok(part) = tokio::time::timeout(left, self.body.next()).await else {
                return self.sent.refuse(too_slow(limits));
            };
            left = left.saturating_sub(began.elapsed());
            let bytes = match part {
                Some(Ok(bytes)) => bytes,
                Some(Err(_)) => return,
                None => {
                    let _ = self.parts.send(UploadPart::End).await;
                    return;
                }
            };
            let sum = self.sent.add(bytes.len() as u64);
            if sum > size_max {
                return self.sent.refuse(too_large(size_max));
            }
            if sum >= mark {
                (left, mark) = (limits.progress_timeout, sum + limits.progress_bytes);
            }
            if self.parts.send(UploadPart::Bytes(bytes)).await.is_err() {
                return;
            }
        }
    }
}

fn too_slow(limits: PushLimits) -> ApiRefusal {
    let (bytes, seconds) = (limits.progress_bytes, limits.progress_timeout.as_secs());
    let detail = format!("the client sent less than {bytes} bytes in {seconds} seconds");
    ApiRefusal::new(StatusCode::BAD_REQUEST, RefusalWord::BadArchive.word(), detail)
}
