//! From the bytes of an upload to the bytes for the Engine.

use std::io;

use flate2::write::MultiGzDecoder;
use sha2::Digest as _;

use super::walker::Walker;
use super::{ArchiveError, ArchiveLimits, ArchivedImage, RATIO_FREE_BYTES, RATIO_MAX};
use crate::core::docker::reference::Digest;

/// How many bytes are best taken at once. A compressed slice becomes at most `RATIO_MAX` times as
/// many bytes, and `RATIO_FREE_BYTES` more.
pub const SLICE: usize = 4096;

/// The first bytes of files that are compressed in a way that is not read here, with their names.
const OTHER_FORMATS: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// The first bytes of a file of gzip.
const GZIP: &[u8] = b"\x1f\x8b";

/// How many first bytes show the format.
const MAGIC_LENGTH: usize = 5;

/// An upload while it arrives.
pub struct ArchiveIntake {
    limits: ArchiveLimits,
    hash: sha2::Sha256,
    format: UploadFormat,
}

enum UploadFormat {
    /// Too few bytes are known; these.
    Unknown(Vec<u8>),
    Plain(Box<Tar>),
    Gzip(Box<MultiGzDecoder<Tar>>),
}

impl ArchiveIntake {
    /// An upload of which nothing has arrived.
    #[must_use]
    pub fn new(limits: ArchiveLimits) -> Self {
        Self { limits, hash: sha2::Sha256::new(), format: UploadFormat::Unknown(Vec::new()) }
    }

    /// Takes the next bytes, at best [`SLICE`] of them.
    ///
    /// # Errors
    /// The archive is not accepted.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if self.limits.digest.is_some() {
            self.hash.update(bytes);
        }
        let UploadFormat::Unknown(first) = &mut self.format else { return self.pass_on(bytes) };
        first.extend_from_slice(bytes);
        if first.len() < MAGIC_LENGTH {
            return Ok(());
        }
        let first = std::mem::take(first);
        self.recognize(&first)
    }

    /// The bytes for the Engine so far. The caller takes them out.
    pub fn out(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.format {
            UploadFormat::Unknown(_) => None,
            UploadFormat::Plain(tar) => Some(&mut tar.out),
            UploadFormat::Gzip(decoder) => Some(&mut decoder.get_mut().out),
        }
    }

    /// The client has sent everything: checks it, and writes the end of the archive.
    ///
    /// # Errors
    /// The archive is not accepted.
    pub fn finish(&mut self) -> Result<ArchivedImage, ArchiveError> {
        if let UploadFormat::Unknown(first) = &mut self.format {
            let first = std::mem::take(first);
            self.recognize(&first)?;
        }
        if let UploadFormat::Gzip(decoder) = &mut self.format {
            let ended = decoder.try_finish();
            ended.map_err(|error| damaged(decoder.get_mut(), &error))?;
        }
        self.check_digest()?;
        let wanted = self.limits.platform.as_ref();
        let tar = match &mut self.format {
            UploadFormat::Plain(tar) => tar,
            UploadFormat::Gzip(decoder) => decoder.get_mut(),
            UploadFormat::Unknown(_) => return Err(ArchiveError::bad("nothing was sent")),
        };
        tar.walker.finish(wanted, &mut tar.out)
    }

    fn check_digest(&self) -> Result<(), ArchiveError> {
        let Some(expected) = &self.limits.digest else { return Ok(()) };
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        match Digest::of_hash(&hash) == *expected {
            true => Ok(()),
            false => Err(ArchiveError::bad("what arrived does not have the declared digest")),
        }
    }

    fn recognize(&mut self, first: &[u8]) -> Result<(), ArchiveError> {
        if first.is_empty() {
            return Err(ArchiveError::bad("nothing was sent"));
        }
        if let Some((_, name)) = OTHER_FORMATS.iter().find(|(magic, _)| first.starts_with(magic)) {
            let detail = format!("it is compressed with {name}; send it plain, or with gzip");
            return Err(ArchiveError::bad(detail));
        }
        let tar = Tar::new(self.limits.unpacked_max);
        self.format = match first.starts_with(GZIP) {
            true => UploadFormat::Gzip(Box::new(MultiGzDecoder::new(tar))),
            false => UploadFormat::Plain(Box::new(tar)),
        };
        self.pass_on(first)
    }

    fn pass_on(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        match &mut self.format {
            UploadFormat::Unknown(_) => Ok(()),
            UploadFormat::Plain(tar) => {
                tar.arrived += bytes.len() as u64;
                tar.take(bytes)
            }
            UploadFormat::Gzip(decoder) => {
                decoder.get_mut().arrived += bytes.len() as u64;
                let written = io::Write::write_all(decoder, bytes);
                written.map_err(|error| damaged(decoder.get_mut(), &error))
            }
        }
    }
}

/// What the walker found, or else the decompressor.
fn damaged(tar: &mut Tar, error: &io::Error) -> ArchiveError {
    let found = tar.failed.take();
    found.unwrap_or_else(|| {
        ArchiveError::bad(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is incomplete: the end of its gzip is missing",
            _ => "its gzip is damaged",
        })
    })
}

/// The unpacked archive.
struct Tar {
    walker: Walker,
    /// The bytes for the Engine.
    out: Vec<u8>,
    /// Bytes of the upload so far.
    arrived: u64,
    /// Unpacked bytes so far.
    unpacked: u64,
    unpacked_max: Option<u64>,
    /// Why the walker refuses it, for the caller of the decompressor.
    failed: Option<ArchiveError>,
}

impl Tar {
    fn new(unpacked_max: Option<u64>) -> Self {
        let (walker, out) = (Walker::new(), Vec::new());
        Self { walker, out, arrived: 0, unpacked: 0, unpacked_max, failed: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.unpacked += bytes.len() as u64;
        if let Some(limit) = self.unpacked_max.filter(|limit| self.unpacked > *limit) {
            return Err(ArchiveError::NoRoom { limit });
        }
        if self.unpacked > self.arrived.saturating_mul(RATIO_MAX) + RATIO_FREE_BYTES {
            let detail = format!("it unpacks to more than {RATIO_MAX} times its size");
            return Err(ArchiveError::bad(detail));
        }
        self.walker.take(bytes, &mut self.out)
    }
}

impl io::Write for Tar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the archive is not accepted"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
