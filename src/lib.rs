//! Pilotfish keeps the containers of a Raspberry Pi up to date, and never loses one.

pub mod core;
pub mod registry;
