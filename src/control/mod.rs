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

use crate::agent::{Allow, Question, Recover, RollBack, RoundRequest};
use crate::core::decide::snapshot::Snapshot;
use crate::core::update::event::NumberedEvent;

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";

/// The path of the socket for this state directory.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// What a command asks of a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    /// A round: `check` and `update`.
    Round(RoundRequest),
    RollBack {
        container: String,
    },
    Allow {
        container: String,
    },
    Recover,
}

/// One line of the agent's answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlLine {
    /// The request waits for the updates of these containers.
    Waiting(String),
    /// An event that belongs to the request, or to a container that it names.
    Event(NumberedEvent),
    /// The answer, whose type follows from the request; the last line.
    Answer(serde_json::Value),
    /// Why there is no answer; the last line.
    Failed(String),
}

/// A question that can travel over the control socket.
pub trait RemoteQuestion: Question {
    /// The question as it travels.
    fn request(&self) -> ControlRequest;
}

impl RemoteQuestion for RoundRequest {
    fn request(&self) -> ControlRequest {
        ControlRequest::Round(self.clone())
    }
}

impl RemoteQuestion for RollBack {
    fn request(&self) -> ControlRequest {
        ControlRequest::RollBack { container: self.container.clone() }
    }
}

impl RemoteQuestion for Allow {
    fn request(&self) -> ControlRequest {
        ControlRequest::Allow { container: self.container.clone() }
    }
}

impl RemoteQuestion for Recover {
    fn request(&self) -> ControlRequest {
        ControlRequest::Recover
    }
}

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    pub pid: u32,
    pub snapshot: Snapshot,
}
