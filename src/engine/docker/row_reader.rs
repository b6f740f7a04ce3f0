//! Cuts a list of the Engine into its rows while it arrives, so that at most one row is in memory.
//!
//! A row contains ports, mounts, sizes and a command line, which this program does not need and
//! which have no limit. They are replaced by `null` before the row is stored.

use super::label_reader::plain_run;

/// The kept members of a row: of a container, and of an image.
const WANTED: [&[u8]; 11] = [
    b"Id",
    b"Names",
    b"State",
    b"Status",
    b"Image",
    b"ImageID",
    b"ImageManifestDescriptor",
    b"NetworkSettings",
    b"Created",
    b"RepoTags",
    b"RepoDigests",
];

/// More of them; the `LabelReader` limits their length.
const LABELS: &[u8] = b"Labels";

/// The longest of these names, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// Longest row that is read, in bytes, without the members that are not kept. A container in a
/// hundred networks has 60 kB, and half a megabyte of labels pass the `LabelReader`.
const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The position in a list.
const ROW_DEPTH: usize = 2;

/// Why a list cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is not a list.
    #[error("it is not a list")]
    NoList,
    /// One row is too long.
    #[error("a row is longer than {ROW_BYTES_MAX} bytes")]
    TooLong,
    /// It ends in the middle.
    #[error("it has no end")]
    Cut,
}

/// A list while it is read.
#[derive(Debug, Default)]
pub struct RowReader {
    /// The present row.
    row: Vec<u8>,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    /// The last text of the row itself: the name of a member, if a colon follows.
    name: Vec<u8>,
    /// Whether the present member is dropped.
    skips: bool,
    has_begun: bool,
    has_ended: bool,
}

impl RowReader {
    /// Takes the next bytes of the list, and passes on each row that ends in them.
    pub fn take(
        &mut self,
        bytes: &[u8],
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), ListError> {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            if self.in_text && !self.is_escaped {
                let (run, behind) = rest.split_at(plain_run(rest));
                self.keep_run(run)?;
                rest = behind;
                if !run.is_empty() {
                    continue;
                }
            }
            if self.step(*byte)? {
                each(&self.row);
                self.row.clear();
            }
            rest = &rest[1..];
        }
        Ok(())
    }

    /// Checks that the list is complete.
    pub fn end(&self) -> Result<(), ListError> {
        match (self.has_begun, self.has_ended) {
            (_, true) => Ok(()),
            (true, false) => Err(ListError::Cut),
            (false, false) => Err(ListError::NoList),
        }
    }

    /// Takes one byte. Returns whether it ends a row.
    fn step(&mut self, byte: u8) -> Result<bool, ListError> {
        let was_in_text = self.in_text;
        self.follow_text(byte);
        if was_in_text || self.in_text {
            self.take_text(byte, was_in_text);
            return self.keep(byte).map(|()| false);
        }
        match byte {
            b'{' | b'[' => {
                if !self.has_begun && byte != b'[' {
                    return Err(ListError::NoList);
                }
                self.has_begun = true;
                self.depth += 1;
            }
            b'}' | b']' => return self.close(byte),
            b':' if self.depth == ROW_DEPTH => {
                self.keep(byte)?;
                let is_wanted = WANTED.contains(&self.name.as_slice()) || self.name == LABELS;
                if !is_wanted {
                    self.row.extend_from_slice(b"null");
                }
                self.skips = !is_wanted;
                return Ok(false);
            }
            b',' if self.depth == ROW_DEPTH => self.skips = false,
            byte if !self.has_begun && !byte.is_ascii_whitespace() => {
                return Err(ListError::NoList);
            }
            _ => {}
        }
        self.keep(byte).map(|()| false)
    }

    fn close(&mut self, byte: u8) -> Result<bool, ListError> {
        let is_row = self.depth == ROW_DEPTH;
        self.skips &= !is_row;
        self.keep(byte)?;
        self.depth = self.depth.saturating_sub(1);
        self.has_ended |= self.has_begun && self.depth == 0;
        Ok(is_row && byte == b'}')
    }

    fn follow_text(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_text => self.is_escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ => {}
        }
    }

    /// Records the texts of the row itself.
    fn take_text(&mut self, byte: u8, was_in_text: bool) {
        if self.depth != ROW_DEPTH || self.skips {
            return;
        }
        if !was_in_text {
            self.name.clear();
        } else if self.in_text && self.name.len() < NAME_BYTES_MAX {
            self.name.push(byte);
        }
    }

    /// Stores a part of a text that does not contain its end.
    fn keep_run(&mut self, run: &[u8]) -> Result<(), ListError> {
        if self.depth < ROW_DEPTH || self.skips {
            return Ok(());
        }
        if self.depth == ROW_DEPTH {
            let room = NAME_BYTES_MAX.saturating_sub(self.name.len());
            self.name.extend_from_slice(&run[..run.len().min(room)]);
        }
        if self.row.len() + run.len() > ROW_BYTES_MAX {
            return Err(ListError::TooLong);
        }
        self.row.extend_from_slice(run);
        Ok(())
    }

    /// Stores a byte of a row. Bytes between rows belong to no row.
    fn keep(&mut self, byte: u8) -> Result<(), ListError> {
        if self.depth < ROW_DEPTH || self.skips {
            return Ok(());
        }
        if self.row.len() >= ROW_BYTES_MAX {
            return Err(ListError::TooLong);
        }
        self.row.push(byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The rows of a list that arrives in pieces.
    fn rows(text: &str, piece: usize) -> Result<Vec<Value>, ListError> {
        let (mut reader, mut rows) = (RowReader::default(), Vec::new());
        let mut each = |row: &[u8]| rows.push(serde_json::from_slice(row).expect("JSON"));
        for bytes in text.as_bytes().chunks(piece) {
            reader.take(bytes, &mut each)?;
        }
        reader.end().map(|()| rows)
    }

    #[test]
    fn rows_come_one_by_one_without_what_nobody_needs() {
        let list = json!([
            { "Id": "1", "Names": ["/a{b\"[,\\"], "Command": "echo \"Labels\": {", "State": "x" },
            { "Ports": [{ "Id": "no" }, 1], "Labels": { "a": "x,}\"\\" }, "Id": "2", "Size": 7 },
            {},
            { "NetworkSettings": { "Networks": { "n": { "EndpointID": "e" } } }, "Mounts": [] },
        ]);
        let expected = [
            json!({ "Id": "1", "Names": ["/a{b\"[,\\"], "Command": null, "State": "x" }),
            json!({ "Ports": null, "Labels": { "a": "x,}\"\\" }, "Id": "2", "Size": null }),
            json!({}),
            json!({ "NetworkSettings": { "Networks": { "n": { "EndpointID": "e" } } },
                    "Mounts": null }),
        ];
        for text in [list.to_string(), serde_json::to_string_pretty(&list).expect("text")] {
            for piece in [1, 7, 1000] {
                assert_eq!(rows(&text, piece).expect("a list"), expected);
            }
        }
        assert_eq!(rows(" []\n", 1), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_list_or_has_no_end_is_an_error() {
        for text in ["", " ", "null", "{\"message\":\"hello\"}", "\"[]\"", "7"] {
            assert_eq!(rows(text, 3), Err(ListError::NoList), "{text}");
        }
        for text in ["[", "[{}", "[{\"Id\":\"1\"},", "[{\"Id\":\"]\""] {
            assert_eq!(rows(text, 3), Err(ListError::Cut), "{text}");
        }
    }

    #[test]
    fn a_row_has_a_limit_and_a_list_has_none() {
        let row = json!({ "Id": "1", "Command": "x".repeat(1000) }).to_string();
        let list = format!("[{}]", vec![row; 10_000].join(","));
        let (mut reader, mut count) = (RowReader::default(), 0);
        for bytes in list.as_bytes().chunks(4096) {
            reader.take(bytes, &mut |_| count += 1).expect("rows");
            assert!(reader.row.len() < 100);
        }
        assert_eq!(count, 10_000);
        let long = json!([{ "Command": "x".repeat(2 * ROW_BYTES_MAX), "Id": "1" }]).to_string();
        assert_eq!(rows(&long, 4096).expect("a list").len(), 1);
        let long = json!([{ "Id": "x".repeat(2 * ROW_BYTES_MAX) }]).to_string();
        assert_eq!(rows(&long, 4096), Err(ListError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn strange_texts_harm_nobody(text in "[\\[\\]{}\",\\\\:Labels0x ]{0,200}") {
            let mut reader = RowReader::default();
            let _ = reader.take(text.as_bytes(), &mut |_| {});
            proptest::prop_assert!(reader.row.len() <= 5 * text.len());
        }
    }
}
