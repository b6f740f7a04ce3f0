//! Floor 0: everything that is decided. No async, no clock, no environment, no sockets.
//!
//! What is here takes facts and gives back decisions, so every rule can be tested by a table.

pub mod api_version;
pub mod authority;
pub mod blame;
pub mod credentials;
pub mod cron_schedule;
pub mod debris;
pub mod decide;
pub mod duration;
pub mod ending;
pub mod event;
pub mod health;
pub mod health_policy;
pub mod history;
pub mod inspect;
pub mod manifest;
pub mod memory;
pub mod names;
pub mod observation;
pub mod offer;
pub mod plan;
pub mod policy;
pub mod probe;
pub mod reason;
pub mod recreate;
pub mod reference;
pub mod report;
pub mod schedule;
pub mod snapshot;
pub mod space;
pub mod text;
pub mod timetable;
pub mod update;
pub mod wall_clock;
pub mod window;
