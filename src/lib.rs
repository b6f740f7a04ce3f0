//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.

pub mod config;
pub mod core;
