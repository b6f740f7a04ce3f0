//! Layer 3: the device in its fleet, over an MQTT broker.
//!
//! The device tells its state, and hears announcements and commands. The broker only carries
//! messages: an announcement leads to one look at the registry, a command obeys what a command on
//! the machine itself obeys. Without a connection everything goes on as without a broker; after
//! each connection the whole state is told again.
//!
//! ```text
//! broker ── Connected ──> session ── told ───────> retained messages of this device
//!        ── Message ────> AgentHandle: FleetNews, which decides what follows from it:
//!                         looks ─────────────────> AgentHandle: CheckPushed
//!                         commands ──────────────> AgentHandle: check, update, rollback, allow
//!                told ────────────────────────> PREFIX/device/ID/config, for Home Assistant
//! AgentHandle: events ──> sequence ──────────────> device/ID/event, device/ID/reply
//! ```

// The device, its name and its subscriptions.
mod device;
// The retained messages, made from the snapshot.
mod state;
// What of them must be told anew.
mod told;
// What Home Assistant was told.
mod home_assistant;
// Messages that must arrive one after the other: events and replies.
mod sequence;
// The looks that announcements ask for.
mod looks;
// What a command leads to.
mod commands;
// One agent at one broker: the loop that connects all of it.
mod session;

// Webhooks become messages.
mod bridge;
// What the mirror copied becomes announcements.
mod copies;

use crate::broker::ReasonCode;

pub use bridge::BrokerSink;
pub use copies::{Copies, CopyListener, announce_copies, copies};
pub use device::FleetDevice;
pub use session::serve;

/// Hears what happens on the connection to the broker, for the metrics.
pub trait FleetObserver: Send + Sync + 'static {
    /// The connection is there, or is lost.
    fn connected(&self, is_connected: bool);

    /// The broker refused a message or a subscription, or this device ignored a message. `reason`
    /// is one of a fixed list of words.
    fn refused(&self, reason: &str);

    /// The broker refused a message or a subscription.
    fn refused_by_broker(&self, reason: ReasonCode) {
        self.refused(&format!("broker_{}", reason.0));
    }
}
