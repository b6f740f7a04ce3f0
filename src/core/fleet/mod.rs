//! The rules of a fleet: many devices, one broker between them, and no coordinator.
//!
//! Each device decides for itself. What a message can cause is decided here: an announcement leads
//! to at most one look, a command is done once, and verdicts of other devices can delay or stop an
//! update but never start one that the registry does not offer. The agent asks
//! [`state::FleetState`].

// The entry, and what is kept on disk.
pub mod memory;
pub mod state;
// What is said, and where.
pub mod message;
pub mod names;
pub mod topic;
// What Home Assistant learns of the device.
pub mod home_assistant;
// What a message leads to.
pub mod announcements;
pub mod commands;
pub mod stop;
// The staged rollout: who goes when, and what the verdicts of others change.
pub mod place;
pub mod rollout;
pub mod rollout_progress;
pub mod turn;
pub mod turn_report;
pub mod verdict;
pub mod votes;
pub mod waves;

// The whole fleet, as its operator sees it.
pub mod overview;
pub mod overview_rollouts;

#[cfg(test)]
mod simulation_tests;
