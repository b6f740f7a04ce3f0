//! The header of one entry of a tar archive. All forms are read (v7, ustar, GNU); one is written.

use super::ArchiveError;

/// Size of a header, and of the blocks that content is padded to, in bytes.
pub(super) const BLOCK: usize = 512;

/// Longest name in a header that is written.
pub(super) const NAME_MAX: usize = 100;

/// The kinds of entries, by their letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Directory,
    Symlink,
    /// A record of PAX that belongs to the next entry.
    Pax,
    /// A record of PAX for all entries: a comment, in archives of git.
    GlobalPax,
    /// GNU's long name of the next entry.
    LongName,
    /// GNU's long link target of the next entry.
    LongLink,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) name: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) size: u64,
    pub(super) link: Vec<u8>,
}

impl EntryHeader {
    /// Reads a header.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Self, ArchiveError> {
        if number(&block[148..156]) != Some(checksum(block)) {
            let detail = "it is not a tar archive, or it is damaged: the checksum of an entry is \
                          wrong";
            return Err(ArchiveError::bad(detail));
        }
        let kind = kind(block[156])?;
        let size = number(&block[124..136]);
        let size = size.ok_or_else(|| ArchiveError::bad("the size of an entry is no number"))?;
        let mut name = text(&block[..NAME_MAX]).to_vec();
        // GNU's older form has times where ustar has a prefix.
        let prefix = if &block[257..263] == b"ustar\0" { text(&block[345..500]) } else { b"" };
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let size = if matches!(kind, EntryKind::Directory | EntryKind::Symlink) { 0 } else { size };
        Ok(Self { name, kind, size, link: text(&block[157..257]).to_vec() })
    }
}

fn kind(letter: u8) -> Result<EntryKind, ArchiveError> {
    Ok(match letter {
        b'0' | 0 => EntryKind::File,
        b'5' => EntryKind::Directory,
        b'2' => EntryKind::Symlink,
        b'x' => EntryKind::Pax,
        b'g' => EntryKind::GlobalPax,
        b'L' => EntryKind::LongName,
        b'K' => EntryKind::LongLink,
        b'1' => return Err(ArchiveError::bad("it has a hard link, which no image archive needs")),
        _ => {
            let detail = "it has an entry that is neither a file nor a directory, which no image \
                          archive needs";
            return Err(ArchiveError::bad(detail));
        }
    })
}

/// The text of a field, up to its first zero.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or in GNU's binary form for large ones.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (high, low) = field.split_at(field.len().checked_sub(8)?);
        let is_small =
            high.iter().enumerate().all(|(at, byte)| *byte == [0, 0x80][usize::from(at == 0)]);
        return is_small.then(|| low.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)));
    }
    let digits = text(field);
    let digits = std::str::from_utf8(digits).ok()?.trim();
    if digits.is_empty() {
        return Some(0);
    }
    // `from_str_radix` accepts a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(digits, 8).ok())?
}

/// The sum of all bytes, with blanks in place of the sum itself.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let counts = |at: usize, byte: u8| if (148..156).contains(&at) { b' ' } else { byte };
    block.iter().enumerate().map(|(at, byte)| u64::from(counts(at, *byte))).sum()
}

/// Writes the header of an entry. The name has at most [`NAME_MAX`] bytes.
pub(super) fn write(out: &mut Vec<u8>, name: &str, kind: EntryKind, size: u64, link: &str) {
    let mut block = [0_u8; BLOCK];
    put(&mut block[..NAME_MAX], name.as_bytes());
    let (letter, mode) = match kind {
        EntryKind::Directory => (b'5', &b"0000755\0"),
        EntryKind::Symlink => (b'2', &b"0000777\0"),
        _ => (b'0', &b"0000644\0"),
    };
    put(&mut block[100..108], *mode);
    for owner in [108..116, 116..124] {
        put(&mut block[owner], b"0000000\0");
    }
    match u32::try_from(size >> 33) {
        Ok(0) => put(&mut block[124..136], format!("{size:011o}\0").as_bytes()),
        _ => {
            block[124] = 0x80;
            put(&mut block[128..136], &size.to_be_bytes());
        }
    }
    put(&mut block[136..148], b"00000000000\0");
    block[156] = letter;
    put(&mut block[157..257], link.as_bytes());
    put(&mut block[257..265], b"ustar\x0000");
    let sum = checksum(&block);
    put(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&block);
}

fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// The zeros between the end of a content of this size and the next header.
pub(super) fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, kind: EntryKind, size: u64, link: &str) -> [u8; BLOCK] {
        let mut out = Vec::new();
        write(&mut out, name, kind, size, link);
        out.try_into().expect("one block")
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (name, kind, size, link) in [
            ("manifest.json", EntryKind::File, 0, ""),
            ("blobs/sha256/aa", EntryKind::File, 0o77_777_777_777, ""),
            ("blobs/sha256/aa", EntryKind::File, 1 << 33, ""),
            ("blobs/sha256/aa", EntryKind::File, u64::MAX, ""),
            ("a/layer.tar", EntryKind::Symlink, 0, "../b/layer.tar"),
            ("a", EntryKind::Directory, 0, ""),
        ] {
            let read = EntryHeader::read(&written(name, kind, size, link)).expect("a header");
            let (name, link) = (name.as_bytes().to_vec(), link.as_bytes().to_vec());
            assert_eq!(read, EntryHeader { name, kind, size, link });
        }
    }

    #[test]
    fn a_damaged_or_strange_header_is_refused() {
        let good = written("a", EntryKind::File, 5, "");
        for at in [0, 130, 150, 156, 400] {
            let mut block = good;
            block[at] ^= 1;
            assert!(EntryHeader::read(&block).is_err(), "{at}");
        }
        for letter in [b'1', b'3', b'4', b'6', b'7', b'S', b'D', b'M', b'Z'] {
            let mut block = good;
            block[156] = letter;
            let sum = checksum(&block);
            put(&mut block[148..156], format!("{sum:06o}\0 ").as_bytes());
            assert!(EntryHeader::read(&block).is_err(), "{}", char::from(letter));
        }
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"  644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"-644\0", None),
            (b"+644\0", None),
            (b"89\0", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"777777777777777777777777\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
