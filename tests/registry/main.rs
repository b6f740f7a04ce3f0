//! The registry port against real registries, and against servers that answer as they please.

#![expect(clippy::expect_used, reason = "a helper of a test that cannot go on ends the test")]

mod answers;
mod below_http;
mod certificates;
mod documents;
mod images;
mod logins;
mod mirrors;
mod paper_engine;
mod pushes;
mod real;
mod rounds;
mod scripted;
mod secrets;
mod support;
mod tokens;
mod trust;
