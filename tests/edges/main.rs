//! The edges of the program: the command line, its output, the metrics, the log.
//!
//! Whole pages are compared with the files in `tests/golden/`. `PILOTFISH_WRITE_GOLDEN=1` writes
//! them again; then `git diff` shows what changes for a user.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod api;
mod fixtures;
mod fleet;
mod golden;
mod help;
mod log;
mod metrics;
mod output;
mod status;
mod terminal;
