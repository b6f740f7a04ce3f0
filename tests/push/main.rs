//! The push API over real sockets and with the real curl, in front of an agent of the test's own.
//! No test needs an Engine.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod certificates;
mod client;
mod curl;
mod fixture;
mod gates;
mod passed_socket;
mod pki;
mod uploads;
