//! Everything that the fuzzer found or begins with is read again, without a fuzzer: what once went
//! wrong stays right. What is only a few bytes away from it is read as well.

#![expect(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// How many neighbours of each file are read. `PILOTFISH_NEIGHBOURS` asks for more.
const NEIGHBOURS: u64 = 300;

/// How many changes a neighbour has at most.
const CHANGES_MAX: usize = 4;

/// Bytes that mean something to one reader or another.
const SIGNS: &[u8] = b"/:@[]{}\",=%.-_ \\0aAzF9\0\n\xff\xc3";

/// The files of a target's corpus with their content, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(&directory).expect("a directory for each target");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no corpus");
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("its content"))).collect()
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    /// The next one, below `end`.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).expect("an index")
    }
}

/// A file that differs in a few places: bytes changed, put in, left out or told twice.
fn neighbour(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(CHANGES_MAX) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(16)).min(bytes.len());
        let sign = SIGNS[numbers.below(SIGNS.len())];
        match numbers.below(4) {
            0 if at < bytes.len() => bytes[at] = sign,
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => bytes.extend_from_within(at.min(end)..end),
            _ => bytes.insert(at, sign),
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
fn whatever_is_near_the_corpus_is_read_without_a_panic() {
    let wanted = std::env::var("PILOTFISH_NEIGHBOURS").ok().and_then(|text| text.parse().ok());
    for (name, target) in targets::ALL {
        for (path, bytes) in corpus(name) {
            for seed in 0..wanted.unwrap_or(NEIGHBOURS) {
                let neighbour = neighbour(&bytes, seed);
                let read = std::panic::catch_unwind(|| target(&neighbour));
                let text = String::from_utf8_lossy(&neighbour);
                assert!(read.is_ok(), "{}, neighbour {seed}:\n{text}", path.display());
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
