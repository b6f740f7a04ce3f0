//! A blob that is read from a source, and read on after its connection broke.
//!
//! The upload stays open meanwhile: distribution 2.8 forgets an upload whose connection broke, so
//! only the source side can go on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, Response, StatusCode};
use tokio::time::{sleep, timeout};

use crate::core::mirror::manifest_tree::BlobDescriptor;
use crate::core::mirror::refusal::{CopyError, MirrorRefusal};
use crate::registry::protocol::error::{ExchangeError, Failure};
use crate::registry::protocol::query::{RegistryQuery, TokenScope};
use crate::registry::protocol::session::Session;
use crate::registry::transfer::refusal::of_source;

/// Most failures in a row, without a byte in between, before a blob is given up. With the pauses
/// between them that is a quarter of a minute, in which a Wi-Fi comes back.
const FAILURES_MAX: u32 = 5;

/// Most times that a source may send nothing, in a row. Each takes the stall time-out.
const STALLS_MAX: u32 = 2;

/// Most times that one blob is read on. A connection that breaks more often does not carry a blob.
const RESUMES_MAX: u32 = 200;

/// First pause after a second failure in a row; it doubles. The target waits that long for bytes.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Why no bytes came.
enum Interruption {
    /// Reading on cannot help.
    Final(CopyError),
    /// The connection broke, or was not made.
    Broken(CopyError),
    /// Nothing came for the stall time-out.
    Stalled,
}

/// A blob at its source, from some byte on.
pub(super) struct SourceBlob {
    session: Arc<Session>,
    repository: String,
    blob: BlobDescriptor,
    /// Bytes that were read.
    offset: u64,
    /// Bytes to leave out, because the source does not know `Range`.
    skip: u64,
    open: Option<Response>,
    failures: u32,
    stalls: u32,
    resumes: u32,
}

impl SourceBlob {
    /// Nothing is read yet.
    pub fn new(session: Arc<Session>, repository: &str, blob: &BlobDescriptor) -> Self {
        Self {
            session,
            repository: repository.to_owned(),
            blob: blob.clone(),
            offset: 0,
            skip: 0,
            open: None,
            failures: 0,
            stalls: 0,
            resumes: 0,
        }
    }

    /// The next bytes; `None` after as many as the manifest says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        while self.offset < self.blob.size {
            match self.read().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return self.count(chunk).map(Some),
                Err(interruption) => self.interrupted(interruption).await?,
            }
        }
        self.open = None;
        Ok(None)
    }

    fn count(&mut self, chunk: Bytes) -> Result<Bytes, CopyError> {
        (self.failures, self.stalls) = (0, 0);
        self.offset = self.offset.saturating_add(chunk.len() as u64);
        if self.offset > self.blob.size {
            let (host, size) = (&self.session.endpoint.host, self.blob.size);
            let detail = format!("{host} sent more than the {size} bytes of {}", self.what());
            return Err(CopyError::nonsense(detail));
        }
        Ok(chunk)
    }

    /// Decides whether to read on, and waits a little if it failed before.
    async fn interrupted(&mut self, interruption: Interruption) -> Result<(), CopyError> {
        self.open = None;
        self.resumes += 1;
        let (error, is_last) = match interruption {
            Interruption::Final(error) => return Err(error),
            Interruption::Stalled => {
                self.stalls += 1;
                let (host, after) =
                    (&self.session.endpoint.host, self.stall_timeout().as_secs_f32());
                let detail = format!("{host} sent nothing of {} for {after} s", self.what());
                let error = CopyError::refused(MirrorRefusal::SourceStalled, detail);
                (error, self.stalls >= STALLS_MAX)
            }
            Interruption::Broken(error) => {
                self.failures += 1;
                (error, self.failures >= FAILURES_MAX)
            }
        };
        if is_last || self.resumes > RESUMES_MAX {
            return Err(error);
        }
        if self.failures > 1 {
            sleep(RETRY_PAUSE * 2_u32.saturating_pow(self.failures - 2)).await;
        }
        Ok(())
    }

    /// The sum of what came is not the digest.
    pub fn wrong(&self) -> CopyError {
        let host = &self.session.endpoint.host;
        CopyError::nonsense(format!("{host} sent something other than {}", self.what()))
    }

    fn stall_timeout(&self) -> Duration {
        self.session.limits.stall_timeout
    }

    fn what(&self) -> String {
        format!("{}@{}", self.repository, self.blob.digest)
    }

    /// Reads what came; nothing while bytes are left out.
    async fn read(&mut self) -> Result<Bytes, Interruption> {
        let mut response = match self.open.take() {
            Some(response) => response,
            None => Box::pin(self.reopen()).await?,
        };
        let received = timeout(self.stall_timeout(), response.chunk()).await;
        let host = &self.session.endpoint.host;
        let cut = || ExchangeError::Cut { host: host.clone() };
        let chunk = match received {
            Err(_) => return Err(Interruption::Stalled),
            Ok(Err(error)) => {
                let error = ExchangeError::of(&error, host, self.session.limits.connect_timeout);
                return Err(Interruption::Broken(CopyError::Failed(Failure::from(error).error)));
            }
            Ok(Ok(None)) => {
                return Err(Interruption::Broken(CopyError::Failed(Failure::from(cut()).error)));
            }
            Ok(Ok(Some(chunk))) => chunk,
        };
        self.open = Some(response);
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        Ok(chunk.slice(usize::try_from(skipped).unwrap_or(chunk.len())..))
    }

    /// Asks for the rest of the blob.
    async fn reopen(&mut self) -> Result<Response, Interruption> {
        let path = format!("/v2/{}/blobs/{}", self.repository, self.blob.digest);
        let ask =
            RegistryQuery::new(Method::GET, TokenScope::pull(&self.repository), path, self.what());
        let ask = match self.offset {
            0 => ask.streamed(),
            offset => ask.streamed().for_range(&format!("{offset}-")),
        };
        let answer = self.session.transfer(&ask).await;
        let mut answer =
            answer.map_err(|failure| Interruption::Broken(CopyError::Failed(failure.error)))?;
        let range = answer.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let begins_here =
            range.is_some_and(|it| it.starts_with(&format!("bytes {}-", self.offset)));
        self.skip = match answer.status {
            StatusCode::OK => self.offset,
            StatusCode::PARTIAL_CONTENT if begins_here => 0,
            status => {
                let error = of_source(&self.session, &ask.what, answer);
                let may_pass = status.is_server_error() && self.offset > 0;
                return Err(match may_pass {
                    true => Interruption::Broken(error),
                    false => Interruption::Final(error),
                });
            }
        };
        answer.stream.take().ok_or_else(|| {
            let host = &self.session.endpoint.host;
            Interruption::Final(CopyError::nonsense(format!("{host} sent no content")))
        })
    }
}
