//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table.

pub mod authority;
pub mod cron_schedule;
pub mod duration;
pub mod health_policy;
pub mod offer;
pub mod policy;
pub mod probe;
pub mod reason;
pub mod reference;
pub mod schedule;
pub mod text;
pub mod wall_clock;
pub mod window;
