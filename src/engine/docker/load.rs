//! Loads an image archive while it arrives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::json_client::RawClient;
use super::pull::SILENCE_MAX;
use crate::core::docker::load_answer::LoadAnswer;
use crate::engine::EngineError;

/// The name of the call in errors.
const CALL: &str = "load";

/// Longest line of the answer in bytes. A line of progress has some 200.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Sends the archive, and reads every line of the answer: the status says nothing.
pub async fn load(
    client: &RawClient,
    prefix: &str,
    archive: BoxStream<'static, io::Result<Bytes>>,
) -> Result<LoadAnswer, EngineError> {
    let moved = Arc::new(AtomicU64::new(0));
    let sent = Arc::clone(&moved);
    let archive = archive.inspect(move |_| _ = sent.fetch_add(1, Ordering::Relaxed));
    let path = format!("{prefix}/images/load?quiet=0");
    let mut lines = watch(&moved, client.upload(CALL, &path, archive)).await??;
    let (mut answer, mut line) = (LoadAnswer::default(), Vec::new());
    while let Some(chunk) = watch(&moved, lines.next()).await? {
        let chunk =
            chunk.map_err(|error| EngineError::Broken { call: CALL, detail: error.to_string() })?;
        for byte in chunk {
            if byte == b'\n' {
                answer.take(&std::mem::take(&mut line));
            } else if line.len() < LINE_BYTES_MAX {
                line.push(byte);
            }
        }
    }
    answer.take(&line);
    Ok(answer)
}

/// Waits as long as bytes go to the Engine, or an answer comes within [`SILENCE_MAX`].
async fn watch<T>(moved: &AtomicU64, future: impl Future<Output = T>) -> Result<T, EngineError> {
    let mut future = std::pin::pin!(future);
    loop {
        let before = moved.load(Ordering::Relaxed);
        if let Ok(output) = tokio::time::timeout(SILENCE_MAX, &mut future).await {
            return Ok(output);
        }
        if moved.load(Ordering::Relaxed) == before {
            return Err(EngineError::TimedOut { call: CALL, seconds: SILENCE_MAX.as_secs() });
        }
    }
}
