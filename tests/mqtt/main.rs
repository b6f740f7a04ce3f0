//! The port to the broker against a real Mosquitto with the files of `deploy/mosquitto`, and
//! against scripted peers. No test needs an Engine.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod broker_files;
mod connection;
mod delivery;
mod grants;
mod kills;
mod peer;
mod peers;
mod pki;
mod support;
