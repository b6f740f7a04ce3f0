//! Floor 3: the control socket. While an agent runs, the commands of a person act through it: it
//! has tokens, answers and quota already, and two processes never share a state directory.
//!
//! HTTP on a unix socket in the state directory, which carries documents. A request is answered by
//! lines of JSON: events as they happen, and the answer at the end, so that a person sees the same
//! progress as without an agent.

pub mod client;
pub mod server;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::{Allow, Question, Recover, RollBack, RoundRequest};
use crate::documents::{Allowed, Recovery, Request, Rollback, Round, RoundQuery};

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";

/// Where the socket of an agent with this state directory is.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// A question that can travel over the control socket.
pub trait RemoteQuestion: Question {
    /// The answer as it travels.
    type Document: for<'a> From<&'a Self::Answer> + Serialize + DeserializeOwned;

    /// The question as it travels.
    fn request(&self) -> Request;
}

impl RemoteQuestion for RoundRequest {
    type Document = Round;

    fn request(&self) -> Request {
        Request::Round(RoundQuery::from(self))
    }
}

impl RemoteQuestion for RollBack {
    type Document = Rollback;

    fn request(&self) -> Request {
        Request::RollBack { container: self.container.clone() }
    }
}

impl RemoteQuestion for Allow {
    type Document = Allowed;

    fn request(&self) -> Request {
        Request::Allow { container: self.container.clone() }
    }
}

impl RemoteQuestion for Recover {
    type Document = Recovery;

    fn request(&self) -> Request {
        Request::Recover
    }
}
