//! Makes foreign text in a message harmless: a log line stays one line, and contains no characters
//! that a terminal acts on.

use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::core::text::{harmless_json, harmless_page};

/// Writers whose lines are escaped. The format writes each line as a whole.
pub(super) struct Harmless<W> {
    pub(super) inner: W,
    pub(super) escape: fn(&str) -> String,
}

/// One of these writers.
pub(super) struct Escaped<W> {
    inner: W,
    escape: fn(&str) -> String,
}

/// A line of text. The last line end is its own, all others belong to the message.
pub(super) fn plain_line(line: &str) -> String {
    coloured_line(&line.replace('\u{1b}', "\\u{1b}"))
}

/// The same for a line that the format colours.
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
