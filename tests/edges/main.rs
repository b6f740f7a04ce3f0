//! The edges: what a person types and reads, what Prometheus scrapes, what is logged.
//!
//! Whole pages are compared with the files in `tests/golden/`. `PILOTFISH_WRITE_GOLDEN=1` writes
//! them anew; then `git diff` shows what a user would see change.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod api;
mod fixtures;
mod golden;
mod help;
mod log;
mod metrics;
mod output;
mod status;
mod terminal;
