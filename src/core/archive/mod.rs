//! Image archives: what `docker save` and the tools around it write, read while it is uploaded.
//!
//! Bytes of the client go in, bytes for the Engine come out, and nothing is kept but the small
//! documents that name the image. The archive is written anew: each entry gets a plain header, so
//! that no two programs can read it in two ways; names of images are left out, so that a load moves
//! no tag (measured on Engines 20.10 and 28.5); and an OCI layout gets the `manifest.json` without
//! which the classic image store does not take it.
//!
//! The end of the archive is written last, after all checks. If one of them fails, the caller
//! breaks the request to the Engine off, and the Engine keeps nothing.

// The header of one entry: read in all forms, written in one.
mod header;
// The names of entries, and the links that are accepted.
mod names;
// An archive without any layer.
mod hollow;
// An archive without the layers that a device has.
pub mod thin;
// The entries, one after the other.
mod walker;
// The documents of the archive, and the image that they name.
mod documents;
// From wire bytes to the bytes for the Engine: digest, gunzip, limits.
mod intake;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use hollow::without_layers;
pub use intake::{ArchiveIntake, SLICE};

use crate::core::docker::reference::{Digest, Platform};

/// Most entries of an archive. `docker save` of an image with 127 layers writes 500.
const ENTRIES_MAX: usize = 10_000;

/// Largest document of an archive in bytes. A configuration has some 10 kB, also with a long
/// history. It is the memory that the reading needs.
const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// Most bytes of documents that are remembered: an index with 40 platforms has some 500 kB.
const DOCUMENTS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many times larger than the upload the unpacked archive may be. Layers shrink to a third; an
/// image full of zeros shrinks to a thousandth.
const RATIO_MAX: u64 = 200;

/// Unpacked bytes that are always accepted, because a small archive may shrink more.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;

/// Most bytes behind the end of the archive. Tape formats fill up to 10 kB.
const TRAILING_BYTES_MAX: u64 = 1024 * 1024;

/// Why an archive is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no image archive, or damaged, or more than an image archive needs.
    #[error("{0}")]
    Bad(String),
    /// It has no image for this platform.
    #[error("{0}")]
    Platform(String),
    /// It unpacks to more than the disk has room for.
    #[error("the archive unpacks to more than {limit} bytes, and the disk has no more room")]
    NoRoom {
        /// The most that it may unpack to.
        limit: u64,
    },
}

impl ArchiveError {
    fn bad(detail: impl Into<String>) -> Self {
        Self::Bad(detail.into())
    }
}

/// What is accepted.
#[derive(Debug, Clone, Default)]
pub struct ArchiveLimits {
    /// The platform that the image must be for; `None`: any.
    pub platform: Option<Platform>,
    /// The digest of the uploaded bytes, if the client declared it.
    pub digest: Option<Digest>,
    /// The most bytes that it may unpack to, if the free space is known.
    pub unpacked_max: Option<u64>,
}

/// The image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedImage {
    /// The digest of its configuration, which is its ID on the classic image store.
    pub config: Digest,
    pub platform: Platform,
    /// The digests of the unpacked layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The digests of the layers as an OCI manifest names them; empty if the archive has none.
    pub blobs: Vec<Digest>,
}
