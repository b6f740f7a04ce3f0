//! The program as a person starts it, without an Engine: its output, its exit codes, and that
//! errors change nothing. Whole pages are compared with the files in `tests/golden/`.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[expect(dead_code, reason = "the edges suite uses more of it")]
#[path = "../edges/golden.rs"]
mod golden;

mod configuration;
mod history;
mod pages;
mod fixture;
mod environment;
