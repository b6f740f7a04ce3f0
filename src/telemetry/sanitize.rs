//! The last door of the log: whatever a message repeats of a stranger's words, a line of the log
//! stays one line, and no terminal obeys it.

use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::core::text::{harmless_json, harmless_page};

/// Writers whose lines are escaped. The format hands each line over whole.
pub(super) struct Harmless<W> {
    pub(super) inner: W,
    pub(super) escape: fn(&str) -> String,
}

/// One of these writers.
pub(super) struct Escaped<W> {
    inner: W,
    escape: fn(&str) -> String,
}

/// A line of text. The last end of line is its own, all others are a message's.
pub(super) fn plain_line(line: &str) -> String {
    coloured_line(&line.replace('\u{1b}', "\\u{1b}"))
}

/// The same, where the format colours it.
pub(super) fn coloured_line(line: &str) -> String {
    let (line, end) = match line.strip_suffix('\n') {
        Some(line) => (line, "\n"),
        None => (line, ""),
    };
    harmless_page(&line.replace('\n', "\\n")) + end
}

/// A line of JSON.
pub(super) fn json_line(line: &str) -> String {
    harmless_json(line)
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Harmless<W> {
    type Writer = Escaped<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaped { inner: self.inner.make_writer(), escape: self.escape }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        Escaped { inner: self.inner.make_writer_for(metadata), escape: self.escape }
    }
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.inner.write_all((self.escape)(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
