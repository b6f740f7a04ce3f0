//! One streamed PUT. The sum of the content is made on its way, and the last bytes wait for it.
//!
//! A registry stores a blob only when all bytes came. So if the sum is wrong, the connection is
//! broken off before the last bytes, and nothing wrong is ever stored.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::HeaderValue;
use reqwest::{Body, Method};
use ring::digest::{Context, SHA256, SHA384, SHA512};
use tokio::time::{Instant, sleep_until};

use crate::core::docker::reference::Digest;
use crate::core::mirror::manifest_tree::BlobDescriptor;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::registry::protocol::error::{ExchangeError, Failure};
use crate::registry::protocol::query::TokenScope;
use crate::registry::protocol::request::{HttpRequest, RequestContent};
use crate::registry::protocol::session::Session;
use crate::registry::transfer::movement::Movement;
use crate::registry::transfer::refusal::{failed, of_target};
use crate::registry::transfer::source::SourceBlob;
use crate::registry::transfer::{Flow, OpenUpload};

/// How far pieces that were late may catch up with the rate. Timers are late by a millisecond,
/// which is as long as the pause of a piece.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// Bytes that are handed to a connection at once. The HTTP library takes 16 pieces before it waits
/// for the target, so a target that takes 4 kB in a second still moves within a minute.
const PIECE_BYTES: usize = 16 * 1024;

/// Longest upload of one blob. A source and a target that each move a byte in a minute would go on
/// without an end.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest answer to an upload, in bytes. A good one is empty.
const ANSWER_MAX: usize = 64 * 1024;

/// The content of a blob on its way.
struct ContentStream {
    source: SourceBlob,
    digest: Digest,
    sum: Context,
    /// The last piece that came. It is sent when another one came, or when the sum is right.
    held: Bytes,
    rest: Bytes,
    movement: Arc<Movement>,
    flow: Flow,
    /// When the next piece may go.
    due: Instant,
    has_ended: bool,
}

impl ContentStream {
    /// The next piece.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.has_ended {
            return None;
        }
        self.movement.wants_bytes();
        let piece = self.piece().await;
        match piece {
            Ok(Some(piece)) => {
                self.pace(piece.len()).await;
                self.movement.gave_bytes();
                Some(Ok(piece))
            }
            Ok(None) => {
                self.has_ended = true;
                self.movement.ended();
                None
            }
            Err(error) => {
                self.has_ended = true;
                self.movement.failed(error);
                Some(Err(io::Error::other("the source has no good content")))
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, CopyError> {
        loop {
            if !self.rest.is_empty() {
                let next = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
                let piece = std::mem::replace(&mut self.held, next);
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                continue;
            }
            let Some(chunk) = self.source.next().await? else { break };
            self.flow.received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            self.sum.update(&chunk);
            self.rest = chunk;
        }
        self.check()?;
        let last = std::mem::take(&mut self.held);
        Ok((!last.is_empty()).then_some(last))
    }

    fn check(&self) -> Result<(), CopyError> {
        let sum = self.sum.clone().finish();
        let hex = self.digest.hex();
        let is_right = hex.len() == sum.as_ref().len() * 2
            && sum.as_ref().iter().zip(0..).all(|(byte, index)| {
                hex.get(index * 2..index * 2 + 2) == Some(format!("{byte:02x}").as_str())
            });
        match is_right {
            true => Ok(()),
            false => Err(self.source.wrong()),
        }
    }

    async fn pace(&mut self, bytes: usize) {
        let Some(rate) = self.flow.rate.filter(|rate| *rate > 0) else { return };
        sleep_until(self.due).await;
        #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
        let pause = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let now = Instant::now();
        self.due = self.due.max(now.checked_sub(CATCH_UP_MAX).unwrap_or(now)) + pause;
    }
}

/// Streams a blob into an upload.
pub(super) async fn send(
    (from, repository): (Arc<Session>, &str),
    to: &Session,
    upload: OpenUpload,
    blob: &BlobDescriptor,
    flow: &Flow,
) -> Result<(), CopyError> {
    let movement = Arc::new(Movement::new(to.limits.stall_timeout));
    let content = ContentStream {
        source: SourceBlob::new(from, repository, blob),
        digest: blob.digest.clone(),
        sum: Context::new(match blob.digest.as_str().split(':').next() {
            Some("sha512") => &SHA512,
            Some("sha384") => &SHA384,
            _ => &SHA256,
        }),
        held: Bytes::new(),
        rest: Bytes::new(),
        movement: movement.clone(),
        flow: flow.clone(),
        due: Instant::now(),
        has_ended: false,
    };
    let pieces = stream::unfold(content, |mut content| async move {
        content.next().await.map(|piece| (piece, content))
    });
    let body = Mutex::new(Some(Body::wrap_stream(pieces)));
    let mut request = HttpRequest::new(Method::PUT, ANSWER_MAX);
    request.content = Some(RequestContent::Stream { length: blob.size, body });
    put(to, upload, blob, request, &movement).await
}

async fn put(
    to: &Session,
    upload: OpenUpload,
    blob: &BlobDescriptor,
    request: HttpRequest,
    movement: &Movement,
) -> Result<(), CopyError> {
    let OpenUpload { mut location, named_by, place, repository } = upload;
    location.query_pairs_mut().append_pair("digest", blob.digest.as_str());
    let scope = TokenScope::push(&repository);
    let sending = to.send_to(&location, (&named_by, place), &scope, request, UPLOAD_TIMEOUT);
    let answer = tokio::select! {
        answer = Box::pin(sending) => answer,
        () = movement.stopped() => {
            let (host, after) = (to.endpoint.host.clone(), to.limits.stall_timeout);
            Err(Failure::from(ExchangeError::Timeout { host, after }))
        }
    };
    if let Some(error) = movement.error() {
        return Err(error);
    }
    let answer = answer.map_err(failed)?;
    let what = format!("{repository}@{}", blob.digest);
    if !answer.status.is_success() {
        return Err(of_target(to, &what, answer));
    }
    let stored = answer.headers.get("docker-content-digest");
    let expected = HeaderValue::from_str(blob.digest.as_str()).ok();
    if stored.is_some() && stored != expected.as_ref() {
        let detail = format!("{} stored something other than {what}", to.endpoint.host);
        return Err(CopyError::refused(MirrorRefusal::TargetLies, detail));
    }
    Ok(())
}
