//! The registry port against real registries, and against scripted servers.

#![expect(clippy::expect_used, reason = "a test helper that fails ends the test")]

mod bad_answers;
mod below_http;
mod certificates;
mod cosign;
mod distribution_facts;
mod documents;
#[path = "../support/files.rs"]
mod files;
mod images;
mod leaks;
mod logins;
mod mirrors;
mod fake_engine;
mod proxies;
mod webhooks;
mod real;
mod rounds;
mod scripted;
mod secrets;
mod silent;
mod ssrf;
mod support;
mod tokens;
mod tls;
mod mirror_breaks;
mod mirror_cuts;
mod mirror_program;
mod mirror_rules;
mod shipped_registry;
mod transfer;
mod transfer_breaks;
mod transfer_logins;
mod transfer_peer;
