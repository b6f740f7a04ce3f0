//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.

pub mod agent;
pub mod config;
pub mod core;
pub mod engine;
pub mod execute;
pub mod host;
pub mod journal;
pub mod observe;
pub mod probing;
pub mod recover;
pub mod registry;
pub mod world;
