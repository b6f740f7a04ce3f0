//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table.

pub mod credentials;
pub mod manifest;
pub mod offer;
pub mod reason;
pub mod reference;
