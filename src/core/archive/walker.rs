//! Walks through the entries of a tar archive while its bytes arrive, and writes it anew.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::documents::{Documents, INDEX, MANIFEST, REPOSITORIES};
use super::header::{BLOCK, EntryHeader, EntryKind, padding, write};
use super::names::{check_link, plain};
use super::{ArchiveError, ArchivedImage, DOCUMENT_BYTES_MAX, ENTRIES_MAX, TRAILING_BYTES_MAX};
use crate::core::docker::reference::Platform;

/// Largest record of PAX or GNU in bytes. It holds a name or a time.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What the next bytes are.
enum State {
    /// A header, of which `Walker::block` has the beginning.
    Header,
    /// The content of an entry, of which so many bytes are missing.
    Content { left: u64, size: u64, sink: Sink },
    /// So many zeros behind a content.
    Padding(u64),
    /// The archive has ended, and so many bytes came after it.
    Ended(u64),
}

/// What becomes of a content.
enum Sink {
    /// It goes to the Engine.
    Pass,
    /// The same, and a copy is read as a document.
    Copy(String),
    /// It is read, and its changed form goes to the Engine.
    Rewrite(String),
    /// It is left out.
    Drop,
    /// It says something about the next entry.
    Record(EntryKind),
}

/// What records say about the next entry.
#[derive(Default)]
struct Records {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Reads an archive and writes it anew.
pub(super) struct Walker {
    state: State,
    /// The header so far.
    block: Vec<u8>,
    /// Whether the last block was one of zeros.
    was_zero: bool,
    entries: usize,
    /// Hashes of the names so far: a second entry of one name would be another file for one reader
    /// than for the next.
    seen: HashSet<u64>,
    records: Records,
    /// The content that is kept until its end.
    kept: Vec<u8>,
    documents: Documents,
}

impl Walker {
    pub(super) fn new() -> Self {
        Self {
            state: State::Header,
            block: Vec::with_capacity(BLOCK),
            was_zero: false,
            entries: 0,
            seen: HashSet::new(),
            records: Records::default(),
            kept: Vec::new(),
            documents: Documents::default(),
        }
    }

    /// Takes the next bytes of the archive, and writes those for the Engine.
    pub(super) fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), ArchiveError> {
        while !input.is_empty() {
            let taken = match &mut self.state {
                State::Header => {
                    let taken = input.len().min(BLOCK - self.block.len());
                    self.block.extend_from_slice(&input[..taken]);
                    if self.block.len() == BLOCK {
                        self.read_block(out)?;
                    }
                    taken
                }
                State::Content { .. } => self.take_content(input, out)?,
                State::Padding(left) => {
                    let taken = at_most(input, *left);
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    taken
                }
                State::Ended(behind) => {
                    *behind += input.len() as u64;
                    if *behind > TRAILING_BYTES_MAX || input.iter().any(|byte| *byte != 0) {
                        return Err(ArchiveError::bad("there are bytes behind its end"));
                    }
                    input.len()
                }
            };
            input = &input[taken..];
        }
        Ok(())
    }

    /// Writes the end of the archive.
    pub(super) fn finish(
        &mut self,
        wanted: Option<&Platform>,
        out: &mut Vec<u8>,
    ) -> Result<ArchivedImage, ArchiveError> {
        if !matches!(self.state, State::Ended(_)) {
            return Err(ArchiveError::bad("it is incomplete: its end is missing"));
        }
        let (image, added) = self.documents.image(wanted)?;
        if let Some(manifest) = added {
            write_file(out, MANIFEST, &manifest);
        }
        out.extend_from_slice(&ZEROS);
        out.extend_from_slice(&ZEROS);
        Ok(image)
    }

    /// Reads a whole block where a header is expected.
    fn read_block(&mut self, out: &mut Vec<u8>) -> Result<(), ArchiveError> {
        let block: [u8; BLOCK] = self.block.as_slice().try_into().unwrap_or(ZEROS);
        self.block.clear();
        let is_zero = block == ZEROS;
        if is_zero && self.was_zero {
            self.state = State::Ended(0);
        }
        if !is_zero && self.was_zero {
            return Err(ArchiveError::bad("it ends in the middle"));
        }
        self.was_zero = is_zero;
        if is_zero { Ok(()) } else { self.begin_entry(EntryHeader::read(&block)?, out) }
    }

    fn begin_entry(&mut self, header: EntryHeader, out: &mut Vec<u8>) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let detail = format!("it has more than {ENTRIES_MAX} entries");
            return Err(ArchiveError::bad(detail));
        }
        let EntryHeader { name, kind, size, link } = header;
        if matches!(
            kind,
            EntryKind::Pax | EntryKind::GlobalPax | EntryKind::LongName | EntryKind::LongLink
        ) {
            if size > RECORD_BYTES_MAX {
                return Err(ArchiveError::bad("a record about an entry is too long"));
            }
            return self.begin_content(size, Sink::Record(kind), out);
        }
        let records = std::mem::take(&mut self.records);
        let name = plain(&records.name.unwrap_or(name))?;
        let (size, link) = (records.size.unwrap_or(size), records.link.unwrap_or(link));
        match (kind, name) {
            // The root directory.
            (EntryKind::Directory, None) => Ok(()),
            (_, None) => Err(ArchiveError::bad("an entry of it has no name")),
            (EntryKind::Directory, Some(name)) => {
                write(out, &name, kind, 0, "");
                Ok(())
            }
            (EntryKind::Symlink, Some(name)) => {
                self.note(&name)?;
                check_link(&name, &link)?;
                write(out, &name, kind, 0, &String::from_utf8_lossy(&link));
                Ok(())
            }
            (_, Some(name)) => self.begin_file(name, size, out),
        }
    }

    fn begin_file(
        &mut self,
        name: String,
        size: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        self.note(&name)?;
        let is_small = size <= DOCUMENT_BYTES_MAX;
        let sink = match name.as_str() {
            REPOSITORIES => Sink::Drop,
            MANIFEST | INDEX if is_small => Sink::Rewrite(name),
            MANIFEST | INDEX => {
                let detail = format!("its {name} is larger than {DOCUMENT_BYTES_MAX} bytes");
                return Err(ArchiveError::bad(detail));
            }
            _ => {
                write(out, &name, EntryKind::File, size, "");
                if is_small { Sink::Copy(name) } else { Sink::Pass }
            }
        };
        self.begin_content(size, sink, out)
    }

    /// Notes the name of an entry.
    fn note(&mut self, name: &str) -> Result<(), ArchiveError> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        match self.seen.insert(hasher.finish()) {
            true => Ok(()),
            false => Err(ArchiveError::bad("it has two entries of one name")),
        }
    }

    fn begin_content(
        &mut self,
        size: u64,
        sink: Sink,
        out: &mut Vec<u8>,
    ) -> Result<(), ArchiveError> {
        self.kept.clear();
        self.state = State::Content { left: size, size, sink };
        if size == 0 { self.end_content(out) } else { Ok(()) }
    }

    /// Takes bytes of a content, and returns how many.
    fn take_content(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, ArchiveError> {
        let State::Content { left, sink, .. } = &mut self.state else { return Ok(0) };
        let bytes = &input[..at_most(input, *left)];
        // Only JSON is read. Other small files are layers.
        let is_first = self.kept.is_empty();
        if matches!(sink, Sink::Copy(_)) && is_first && bytes.first() != Some(&b'{') {
            *sink = Sink::Pass;
        }
        if matches!(sink, Sink::Pass | Sink::Copy(_)) {
            out.extend_from_slice(bytes);
        }
        if matches!(sink, Sink::Copy(_) | Sink::Rewrite(_) | Sink::Record(_)) {
            self.kept.extend_from_slice(bytes);
        }
        *left -= bytes.len() as u64;
        if *left == 0 {
            self.end_content(out)?;
        }
        Ok(bytes.len())
    }

    fn end_content(&mut self, out: &mut Vec<u8>) -> Result<(), ArchiveError> {
        let State::Content { size, sink, .. } = std::mem::replace(&mut self.state, State::Header)
        else {
            return Ok(());
        };
        let kept = std::mem::take(&mut self.kept);
        match sink {
            Sink::Drop => {}
            Sink::Pass => write_padding(out, size),
            Sink::Copy(name) => {
                self.documents.take(&name, &kept)?;
                write_padding(out, size);
            }
            Sink::Rewrite(name) => {
                write_file(out, &name, &self.documents.rewrite(&name, &kept)?);
            }
            Sink::Record(kind) => self.records.take(kind, kept)?,
        }
        if padding(size) > 0 {
            self.state = State::Padding(padding(size));
        }
        Ok(())
    }
}

impl Records {
    fn take(&mut self, kind: EntryKind, mut content: Vec<u8>) -> Result<(), ArchiveError> {
        match kind {
            EntryKind::LongName | EntryKind::LongLink => {
                content.truncate(content.iter().position(|it| *it == 0).unwrap_or(content.len()));
                let field =
                    if kind == EntryKind::LongName { &mut self.name } else { &mut self.link };
                *field = Some(content);
            }
            _ => self.take_pax(kind, &content)?,
        }
        Ok(())
    }

    /// Reads records of PAX: `LENGTH KEY=VALUE` and a line feed, the length with itself.
    fn take_pax(&mut self, kind: EntryKind, mut content: &[u8]) -> Result<(), ArchiveError> {
        let wrong = || ArchiveError::bad("a record about an entry cannot be read");
        while !content.is_empty() {
            let blank = content.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = std::str::from_utf8(&content[..blank]).map_err(|_| wrong())?;
            let length: usize = length.parse().map_err(|_| wrong())?;
            let record = content.get(blank + 1..length).ok_or_else(wrong)?;
            let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let concerns_one = matches!(key, b"path" | b"linkpath" | b"size");
            if key.starts_with(b"GNU.sparse") || (kind == EntryKind::GlobalPax && concerns_one) {
                return Err(ArchiveError::bad("an entry has a form that no image archive needs"));
            }
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let digits = std::str::from_utf8(value).map_err(|_| wrong())?;
                    self.size = Some(digits.parse().map_err(|_| wrong())?);
                }
                _ => {}
            }
            content = &content[length..];
        }
        Ok(())
    }
}

fn at_most(input: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(input.len())
}

fn write_padding(out: &mut Vec<u8>, size: u64) {
    let length = usize::try_from(padding(size)).unwrap_or_default();
    out.extend_from_slice(&ZEROS[..length]);
}

fn write_file(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    let size = content.len() as u64;
    write(out, name, EntryKind::File, size, "");
    out.extend_from_slice(content);
    write_padding(out, size);
}
