//! The archive of a push: a file, or standard input, whole or without layers.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use futures_util::stream;
use reqwest::Body;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::core::archive::thin::{DeviceLayers, ThinArchive};

/// Bytes of one part of the body.
const PART_BYTES: usize = 64 * 1024;

/// Standard input.
const STANDARD_INPUT: &str = "-";

/// What gzip begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where the bytes come from.
pub(super) enum ArchiveSource {
    /// A file that can be read again.
    File(File),
    /// Standard input, which is read once.
    Pipe,
}

/// What is sent, and how much of it has been sent.
pub(super) struct Sending {
    pub(super) body: Body,
    /// Absent for standard input.
    pub(super) size: Option<u64>,
    pub(super) sent: Arc<AtomicU64>,
    /// When everything was sent.
    pub(super) end: Arc<OnceLock<Instant>>,
}

impl ArchiveSource {
    pub(super) fn open(archive: &Path) -> anyhow::Result<Self> {
        if archive.as_os_str() == STANDARD_INPUT {
            return Ok(Self::Pipe);
        }
        let file = File::open(archive);
        let file = file.with_context(|| format!("cannot read {}", archive.display()))?;
        Ok(if file.metadata()?.is_file() { Self::File(file) } else { Self::Pipe })
    }

    /// Finds the layers that need not be sent. Standard input and compressed archives are written
    /// to a temporary file first, which has no name.
    pub(super) fn without(
        self,
        device: &DeviceLayers,
    ) -> anyhow::Result<(Self, Option<ThinArchive>)> {
        if device.layers.is_empty() {
            return Ok((self, None));
        }
        let mut file = match self {
            Self::Pipe => spool(io::stdin().lock())?,
            Self::File(file) => file,
        };
        let mut begin = [0; GZIP.len()];
        let is_compressed = file.read_exact(&mut begin).is_ok() && begin == GZIP;
        file.seek(SeekFrom::Start(0))?;
        if is_compressed {
            // What is no gzip after its begin is for the device to refuse.
            if let Ok(plain) = spool(MultiGzDecoder::new(io::BufReader::new(&file))) {
                file = plain;
            }
        }
        let thin = ThinArchive::of(&mut file, device);
        Ok((Self::File(file), thin))
    }

    /// The body; without parts all of it.
    pub(super) fn send(&self, parts: Option<Vec<Range<u64>>>) -> anyhow::Result<Sending> {
        let (sent, end) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let (reader, parts, size) = match self {
            Self::Pipe => {
                let input = tokio::fs::File::from_std(standard_input()?);
                (input, std::iter::once(0..u64::MAX).collect(), None)
            }
            Self::File(file) => {
                let length = file.metadata()?.len();
                let parts = parts.unwrap_or_else(|| std::iter::once(0..length).collect());
                let size = parts.iter().map(|part| part.end - part.start).sum();
                (tokio::fs::File::from_std(file.try_clone()?), parts, Some(size))
            }
        };
        let flow = ArchiveFlow {
            reader,
            parts: parts.into_iter().rev().collect(),
            at: None,
            is_pipe: size.is_none(),
            sent: Arc::clone(&sent),
            end: Arc::clone(&end),
        };
        Ok(Sending {
            body: Body::wrap_stream(stream::try_unfold(flow, ArchiveFlow::next)),
            size,
            sent,
            end,
        })
    }
}

/// Standard input as a file of its own.
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Parts of a file, as a body.
struct ArchiveFlow {
    reader: tokio::fs::File,
    /// The last one first.
    parts: Vec<Range<u64>>,
    /// Where the reader is, if it is inside a part.
    at: Option<u64>,
    is_pipe: bool,
    sent: Arc<AtomicU64>,
    end: Arc<OnceLock<Instant>>,
}

impl ArchiveFlow {
    async fn next(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        while let Some(part) = self.parts.last().cloned() {
            let at = match self.at {
                Some(at) => at,
                None if self.is_pipe => 0,
                None => self.reader.seek(SeekFrom::Start(part.start)).await?,
            };
            let wanted = usize::try_from(part.end - at).unwrap_or(PART_BYTES).min(PART_BYTES);
            let mut bytes = vec![0; wanted];
            let read = if wanted == 0 { 0 } else { self.reader.read(&mut bytes).await? };
            if read == 0 {
                if wanted > 0 && !self.is_pipe {
                    return Err(io::Error::other("the archive became shorter while it was sent"));
                }
                self.parts.pop();
                self.at = None;
                continue;
            }
            bytes.truncate(read);
            self.at = Some(at + read as u64);
            self.sent.fetch_add(read as u64, Ordering::Relaxed);
            // A body whose length is declared may not be asked for its end.
            if self.parts.len() == 1 && self.at == Some(part.end) {
                let _ = self.end.set(Instant::now());
            }
            return Ok(Some((bytes, self)));
        }
        let _ = self.end.set(Instant::now());
        Ok(None)
    }
}

/// Writes everything to a file without a name, which ends with this process.
fn spool(mut from: impl Read) -> anyhow::Result<File> {
    let directory = std::env::temp_dir();
    let path = directory.join(format!("pilotfish-push-{}", std::process::id()));
    let name = || format!("cannot write the archive to {}", directory.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path).with_context(name)?;
    std::fs::remove_file(&path).with_context(name)?;
    io::copy(&mut from, &mut file).with_context(name)?;
    file.flush().with_context(name)?;
    file.seek(SeekFrom::Start(0)).with_context(name)?;
    Ok(file)
}
