//! Layer 3: the control socket. While an agent runs, commands act through it, because the agent
//! already has tokens, answers and quota, and two processes must not share a state directory.
//!
//! HTTP on a unix socket in the state directory; requests and answers are documents. The agent
//! answers a request with lines of JSON: events as they happen, and the answer at the end, so that
//! a person sees the same progress as without an agent.

pub mod client;
pub mod server;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::{Allow, Question, Recover, RollBack, RoundRequest};
use crate::documents::{
    AllowedDocument, RecoveryDocument, Request, RollbackDocument, RoundDocument, RoundQuery,
};

/// The socket's name in the state directory.
const SOCKET: &str = "control.sock";

/// The path of the socket for this state directory.
#[must_use]
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// A question that can be sent over the control socket.
pub trait RemoteQuestion: Question {
    /// The document of its answer.
    type Document: for<'a> From<&'a Self::Answer> + Serialize + DeserializeOwned;

    /// The document of the question.
    fn request(&self) -> Request;
}

impl RemoteQuestion for RoundRequest {
    type Document = RoundDocument;

    fn request(&self) -> Request {
        Request::Round(RoundQuery::from(self))
    }
}

impl RemoteQuestion for RollBack {
    type Document = RollbackDocument;

    fn request(&self) -> Request {
        Request::RollBack { container: self.container.clone() }
    }
}

impl RemoteQuestion for Allow {
    type Document = AllowedDocument;

    fn request(&self) -> Request {
        Request::Allow { container: self.container.clone() }
    }
}

impl RemoteQuestion for Recover {
    type Document = RecoveryDocument;

    fn request(&self) -> Request {
        Request::Recover
    }
}
