//! The lines of the audit, and the metric: one for each request.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::PushState;
use crate::core::docker::reference::Digest;
use crate::core::push::client::PushClient;
use crate::documents::PushDocument;

/// One request, and how it ended. The names are those of the file.
#[derive(Debug, Clone, Serialize)]
pub(super) struct AuditEntry {
    at: DateTime<Utc>,
    client: String,
    serial: String,
    sha256: String,
    from: String,
    /// As the client wrote it; it may not exist.
    deployment: String,
    act: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    /// The image that was loaded.
    image: Option<String>,
    /// How many bytes of the body were taken.
    bytes: u64,
    /// The outcome of the update, `done`, or the word of the error.
    outcome: String,
    /// The ID of the update in the history.
    update: Option<String>,
}

/// Longest name of a deployment in the audit, in characters: a client may ask for any path.
const NAME_LENGTH_MAX: usize = 64;

/// A request that will be audited.
#[derive(Clone)]
pub(super) struct Audited {
    state: Arc<PushState>,
    entry: AuditEntry,
}

impl Audited {
    pub(super) fn new(
        state: &Arc<PushState>,
        client: &PushClient,
        from: String,
        (deployment, act, force): (&str, &'static str, bool),
    ) -> Self {
        let entry = AuditEntry {
            at: (state.now)(),
            client: client.name(),
            serial: client.serial.clone(),
            sha256: client.fingerprint.clone(),
            from,
            deployment: deployment.chars().take(NAME_LENGTH_MAX).collect(),
            act,
            force,
            image: None,
            bytes: 0,
            outcome: String::new(),
            update: None,
        };
        Self { state: Arc::clone(state), entry }
    }

    /// It ended without an update.
    pub(super) fn ended(self, outcome: &str) {
        self.write(outcome.to_owned());
    }

    /// It ended so, after so many bytes.
    pub(super) fn done(mut self, end: &PushDocument, image: Option<String>, bytes: u64) {
        self.entry.bytes = bytes;
        self.entry.image = image;
        match end {
            PushDocument::Ended(update) => {
                self.entry.image =
                    self.entry.image.or_else(|| update.to.as_ref().map(Digest::to_string));
                self.entry.update = Some(update.id.clone());
                let outcome = update.outcome.word().to_owned();
                self.write(outcome);
            }
            PushDocument::AlreadyRuns { .. } => self.write("already_runs".to_owned()),
            PushDocument::SelfUpdating => self.write("self_updating".to_owned()),
            PushDocument::Done | PushDocument::Allowed { .. } => self.write("done".to_owned()),
        }
    }

    /// It was refused with this word, after so many bytes.
    pub(super) fn refused(mut self, word: &str, bytes: u64) {
        self.entry.bytes = bytes;
        self.write(word.to_owned());
    }

    fn write(mut self, outcome: String) {
        let Self { state, entry } = &mut self;
        entry.outcome = outcome;
        // A name that does not exist would be a new series for each request.
        let name = &entry.deployment;
        let series = if state.container_of(name).is_some() { name.as_str() } else { "" };
        state.metrics.push_request(series, entry.act, &entry.outcome);
        // Programs may look each few seconds; what they see changes nothing.
        let is_look = matches!(entry.act, "read" | "list" | "log" | "layers");
        let (client, deployment) = (&entry.client, &entry.deployment);
        if is_look && entry.outcome == "done" {
            tracing::debug!(%client, deployment, act = entry.act, "the push API answered");
        } else {
            let (act, outcome) = (entry.act, &entry.outcome);
            tracing::info!(%client, deployment, act, outcome, "a request of the push API ended");
        }
        if let Err(error) = state.audit.add(entry) {
            tracing::warn!(%error, "the audit of the push API could not be written");
        }
    }
}
