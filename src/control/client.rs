//! The client end of the control socket.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt;
use reqwest::Client;
use tokio::net::UnixStream;

use super::{RemoteQuestion, socket};
use crate::core::subject::Subject;
use crate::documents::{AnswerLine, EventRow, MirrorDocument, StatusDocument};

/// How long the agent may take for an answer without waiting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest line of an answer: a round over a thousand containers.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a running agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket exists, but may not be opened.
    #[error(
        "the agent's control socket {path} cannot be opened: {source}; run this as root, or as the user the agent runs as", path = path.display()
    )]
    Closed {
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The agent's reason.
    #[error("{0}")]
    Failed(String),
    /// The connection ended before the answer was complete.
    #[error(
        "the agent ended, or was restarted, before it was done; `pilotfish status` and `pilotfish history` show the result"
    )]
    Ended,
    /// The agent runs, but its answer is invalid.
    #[error("the agent does not answer on its control socket: {0}")]
    Garbled(String),
    /// The last line of its answer is unknown.
    #[error(
        "the agent's answer ends with a line that this version ({}) does not know: the agent may be a newer one; `pilotfish status` and `pilotfish history` show the result",
        env!("CARGO_PKG_VERSION")
    )]
    Unclear,
}

/// A running agent.
#[derive(Debug)]
pub struct Control {
    client: Client,
}

impl Control {
    /// The agent that runs with this state directory, if there is one.
    ///
    /// # Errors
    /// This user may not connect to it.
    pub async fn connect(state_dir: &Path) -> Result<Option<Self>, ControlError> {
        let path = socket(state_dir);
        match UnixStream::connect(&path).await {
            Ok(_) => {}
            Err(source) if source.kind() == ErrorKind::PermissionDenied => {
                return Err(ControlError::Closed { path, source });
            }
            // No process listens; or the path is too long for a socket, so none can.
            Err(_) => return Ok(None),
        }
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let builder = Client::builder().no_proxy().unix_socket(path.as_path());
        let client = builder.tls_backend_preconfigured(tls).build();
        let client = client.map_err(|error| ControlError::Garbled(error.to_string()))?;
        Ok(Some(Self { client }))
    }

    /// The state of the agent.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> Result<StatusDocument, ControlError> {
        let request = self.client.get("http://agent/v1/status").timeout(ANSWER_TIMEOUT);
        let garbled = |error: reqwest::Error| ControlError::Garbled(error.to_string());
        request.send().await.map_err(garbled)?.json().await.map_err(garbled)
    }

    /// Has the rules of the mirror with these names carried out now. Dropping this future detaches:
    /// the agent continues.
    ///
    /// # Errors
    /// The agent has no such rule, or ended first.
    pub async fn mirror(&self, rules: &BTreeSet<String>) -> Result<MirrorDocument, ControlError> {
        let request = self.client.post("http://agent/v1/mirror").json(rules);
        let response = request.send().await.map_err(|_| ControlError::Ended)?;
        if response.status().is_success() {
            return response.json().await.map_err(|_| ControlError::Unclear);
        }
        let status = response.status();
        let words = response.text().await.unwrap_or_default();
        Err(ControlError::Failed(match words.trim() {
            "" => format!("the agent answered {status}: it may be an older version"),
            words => words.to_owned(),
        }))
    }

    /// Checks that the agent is healthy.
    ///
    /// # Errors
    /// It is not, or does not answer.
    pub async fn health(&self) -> Result<(), ControlError> {
        let request = self.client.get("http://agent/v1/healthz").timeout(ANSWER_TIMEOUT);
        let garbled = |error: reqwest::Error| ControlError::Garbled(error.to_string());
        let response = request.send().await.map_err(garbled)?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(ControlError::Failed(response.text().await.map_err(garbled)?))
    }

    /// Sends a command, and passes its events on. Dropping this future detaches: the agent
    /// continues.
    ///
    /// # Errors
    /// The agent's reason, or the agent ended first.
    pub async fn ask<Q: RemoteQuestion>(
        &self,
        question: &Q,
        show: impl Fn(EventRow),
        waiting: impl Fn(&[Subject]),
    ) -> Result<Q::Document, ControlError> {
        let request = self.client.post("http://agent/v1/ask").json(&question.request());
        let response = request.send().await.map_err(|_| ControlError::Ended)?;
        if !response.status().is_success() {
            return Err(ControlError::Garbled(format!("status {}", response.status())));
        }
        let mut body = response.bytes_stream();
        let mut pending = Vec::new();
        let mut is_clear = true;
        while let Some(Ok(chunk)) = body.next().await {
            for line in take_lines(&mut pending, &chunk)? {
                is_clear = line.is_some();
                match line {
                    None => {}
                    Some(AnswerLine::Waiting(busy)) => waiting(&busy),
                    Some(AnswerLine::Event(event)) => show(event),
                    Some(AnswerLine::Answer(answer)) => {
                        return serde_json::from_value(answer).map_err(|_| ControlError::Unclear);
                    }
                    Some(AnswerLine::Failed(why)) => return Err(ControlError::Failed(why)),
                }
            }
        }
        Err(if is_clear && pending.is_empty() {
            ControlError::Ended
        } else {
            ControlError::Unclear
        })
    }
}

/// The complete lines. An unknown line comes from a newer agent: an unknown event is ignored, an
/// unknown last line is an error.
fn take_lines(
    pending: &mut Vec<u8>,
    chunk: &Bytes,
) -> Result<Vec<Option<AnswerLine>>, ControlError> {
    pending.extend_from_slice(chunk);
    if pending.len() > LINE_BYTES_MAX {
        return Err(ControlError::Garbled("a line without an end".into()));
    }
    let mut lines = Vec::new();
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        lines.push(serde_json::from_slice(&line).ok());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::agent::RoundRequest;

    /// The error for an agent that answers with this body.
    async fn told(body: &'static str) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(socket(directory.path())).expect("a socket");
        let serve = async {
            loop {
                let (mut client, _) = listener.accept().await.expect("a client");
                // The first connection only checks whether a process listens.
                if client.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                    let _ = client.write_all(format!("{head}{body}").as_bytes()).await;
                    let _ = client.shutdown().await;
                }
            }
        };
        let ask = async {
            let control = Control::connect(directory.path()).await.expect("it may be asked");
            control
                .expect("an agent")
                .ask(&RoundRequest::default(), |_| {}, |_| {})
                .await
                .expect_err("no answer")
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::select! {
            () = serve => unreachable!(),
            error = ask => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_last_line_that_is_not_understood_is_not_taken_for_the_end_of_the_agent() {
        for body in
            ["{\"answer_of_tomorrow\":1}\n", "{\"event\":{\"new\":1}}\n{\"x\":1}\n", "{\"ful"]
        {
            assert!(told(body).await.contains("may be a newer one"), "{body}");
        }
        for body in ["", "{\"event\":{\"new\":1}}\n{\"waiting\":[\"till\"]}\n"] {
            assert!(told(body).await.starts_with("the agent ended"), "{body}");
        }
        assert_eq!(told("{\"tomorrow\":1}\n{\"failed\":\"no\"}\n").await, "no");
    }
}
