//! The receiver of what webhooks say: the agent, or another program part that uses the listener.

use std::time::Duration;

use crate::core::docker::webhook::{Build, Push};

/// What a webhook of a known sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookNews {
    /// The pushed tags that the sender may report, each once. At least one.
    Pushed(Vec<Push>),
    /// The end of a build. Its name is the `build` of the sender's configuration, never a text of
    /// the webhook.
    Built(Build),
}

/// Why the receiver does not take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkError {
    /// Not now: the sender gets 503, and may try again after this time.
    Busy { why: String, retry_after: Duration },
    /// Never: the sender gets 400 with these words.
    Unwanted(String),
}

/// Receives what webhooks say.
pub trait WebhookSink: Send + Sync + 'static {
    /// Takes the news of the sender with this name. The sender gets 202 only after `Ok`, so `Ok`
    /// means that the news is safe with the receiver. The future is dropped if the sender closes
    /// its connection, or after the time of an exchange (`ConnectionLimits::exchange_timeout`); the
    /// sender may then send the same webhook again.
    fn take(
        &self,
        sender: &str,
        news: WebhookNews,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;
}
