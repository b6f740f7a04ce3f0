//! Floor 3: the control socket. While an agent runs, the commands of a person act through it: it
//! has tokens, answers and quota already, and two processes never share a state directory.
//!
//! HTTP on a unix socket in the state directory. A wish is answered by lines of JSON, events as
//! they happen and what came of the wish at the end, so that a person sees the same progress as
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

/// Where the socket of an agent with this state directory is.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlLine {
    /// The agent is busy with this container; the wish waits.
    Waiting(String),
    /// Something happened.
    Event(Event),
    /// What came of it; the last line.
    CommandReply(CommandReply),
    /// Why nothing came of it; the last line.
    Failed(String),
}

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// How things stand.
    pub snapshot: Snapshot,
}
