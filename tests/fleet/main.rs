//! Agents in a fleet: real Engines, a real registry, and a real Mosquitto with the files of
//! `deploy/mosquitto`. Each device has a certificate of its own.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test programs use more of the support code")]
mod support;

mod announcements;
mod bridge;
mod command;
mod commands;
mod home_assistant;
mod member;
mod rollout;
mod state;
mod stolen_broker;
mod story;
