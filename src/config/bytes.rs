//! Numbers of bytes as people write them.

/// The units. A megabyte has a million bytes, as in the output of `docker`.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A number of bytes from `2GB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, size) =
        UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)))?;
    number.trim_end().parse::<u64>().ok()?.checked_mul(size)
}
