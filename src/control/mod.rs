//! Layer 3: the control socket. While an agent runs, commands act through it, because the agent
//! already has tokens, answers and quota, and two processes must not share a state directory.
//!
//! It is HTTP on a unix socket in the state directory. A command is answered with lines of JSON:
//! events as they happen, and the result at the end, so that a person sees the same progress as
//! without an agent.

pub mod client;
pub mod server;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::CommandReply;
use crate::core::decide::snapshot::Snapshot;
use crate::core::update::event::Event;

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";

/// The path of the socket for this state directory.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlLine {
    /// The agent is busy with this container; the command waits.
    Waiting(String),
    Event(Event),
    /// The result; the last line.
    CommandReply(CommandReply),
    /// The error; the last line.
    Failed(String),
}

/// The state of the agent, with its process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    pub pid: u32,
    pub snapshot: Snapshot,
}
