//! Layer 3: the device in its fleet, over an MQTT broker.
//!
//! The device tells its state, and hears announcements and commands. The broker only carries
//! messages: an announcement leads to one look at the registry, a command obeys what a command on
//! the machine itself obeys. Without a connection everything goes on as without a broker; after
//! each connection the whole state is told again.
//!
//! ```text
//! broker ── Connected ──> session ── state ──────> retained messages of this device
//!        ── Message ────> announcements ── look ─> AgentHandle: CheckPushed
//!                         commands ──────────────> AgentHandle: check, update, rollback, allow
//! AgentHandle: events ──> sequence ──────────────> device/ID/event, device/ID/reply
//! ```

// The retained messages, made from the snapshot.
mod state;
// Messages that must arrive one after the other: events and replies.
mod sequence;
// What an announcement leads to.
mod announcements;
// What a command leads to.
mod commands;
// One agent at one broker: the loop that connects all of it.
mod session;

pub use session::{FleetDevice, serve};
