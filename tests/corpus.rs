//! Reads every file that the fuzzer found or starts with, without a fuzzer, so that a fixed bug
//! stays fixed. Variants with a few changed bytes are read as well.

#![expect(clippy::expect_used, reason = "a test helper that fails ends the test")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// The number of variants of each file. `PILOTFISH_NEIGHBOURS` sets another number.
const VARIANTS: u64 = 300;

/// The most changes in a variant.
const CHANGES_MAX: usize = 4;

/// Bytes with a meaning for one of the parsers.
const SPECIAL_BYTES: &[u8] = b"/:@[]{}\",=%.-_ \\0aAzF9\0\n\xff\xc3";

/// The files of a target's corpus with their content, sorted by name.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&directory).expect("a directory for each target");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no corpus");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("its content"))).collect()
}

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    /// The next number, below `end`.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("an index")
    }
}

/// A variant of the file with a few changes: bytes replaced, inserted, removed or repeated.
fn variant(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(CHANGES_MAX) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        let special = SPECIAL_BYTES[numbers.below(SPECIAL_BYTES.len())];
        match numbers.below(4) {
            0 if at < bytes.len() => bytes[at] = special,
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => bytes.extend_from_within(at.min(end)..end),
            _ => bytes.insert(at, special),
        }
    }
    bytes
}

#[test]
fn every_file_of_the_corpus_is_read_without_a_panic() {
    for (name, target) in targets::ALL {
        for (path, bytes) in corpus(name) {
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn variants_of_the_corpus_are_read_without_a_panic() {
    let wanted = std::env::var("PILOTFISH_NEIGHBOURS").ok().and_then(|text| text.parse().ok());
    for (name, target) in targets::ALL {
        for (path, bytes) in corpus(name) {
            for seed in 0..wanted.unwrap_or(VARIANTS) {
                let variant = variant(&bytes, seed);
                let read = std::panic::catch_unwind(|| target(&variant));
                let text = String::from_utf8_lossy(&variant);
                assert!(read.is_ok(), "{}, variant {seed}:\n{text}", path.display());
            }
        }
    }
}

#[test]
fn every_target_is_a_program_of_the_fuzzer() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("fuzz/Cargo.toml");
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is missing");
    }
}
