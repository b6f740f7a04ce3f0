//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table.

pub mod api_version;
pub mod blame;
pub mod event;
pub mod health;
pub mod history;
pub mod inspect;
pub mod memory;
pub mod names;
pub mod offer;
pub mod plan;
pub mod reason;
pub mod reference;
pub mod update;
