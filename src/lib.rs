//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.

pub mod agent;
pub mod api;
pub mod app;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod core;
pub mod engine;
pub mod execute;
pub mod host;
pub mod journal;
pub mod metrics;
pub mod observe;
pub mod output;
pub mod probing;
pub mod recover;
pub mod registry;
pub mod telemetry;
pub mod world;
