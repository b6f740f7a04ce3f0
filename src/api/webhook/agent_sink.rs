//! The agent as the receiver of webhooks: pushes wait in a queue, and become questions to the
//! agent.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sink::{SinkError, WebhookNews, WebhookSink};
use crate::agent::{AgentHandle, CheckPushed};
use crate::core::docker::webhook::Push;
use crate::core::update::event::Asker;
use crate::mirror::MirrorHandle;

/// Most webhooks that wait for the agent. A registry that has to wait tries again.
const WAITING_MAX: usize = 64;

/// How long further webhooks are gathered after the first: one push of a multi-platform image is
/// several events, and a person who pushes several images does so in one go.
const GATHER_TIME: Duration = Duration::from_millis(100);

/// Shortest time between two rounds by webhook, so that constant pushes do not keep the agent busy.
const PAUSE: Duration = Duration::from_secs(1);

/// The entry of the agent's queue.
#[derive(Debug, Clone)]
pub struct AgentSink(mpsc::Sender<Vec<Push>>);

/// Both ends of the queue of pushes.
#[must_use]
pub fn queue() -> (AgentSink, mpsc::Receiver<Vec<Push>>) {
    let (sender, pushes) = mpsc::channel(WAITING_MAX);
    (AgentSink(sender), pushes)
}

impl WebhookSink for AgentSink {
    async fn take(&self, _sender: &str, news: WebhookNews) -> Result<(), SinkError> {
        match news {
            WebhookNews::Pushed(pushed) => self.0.try_send(pushed).map_err(|_| SinkError::Busy {
                why: "too many webhooks wait already".to_owned(),
                retry_after: PAUSE,
            }),
            WebhookNews::Built(build) => {
                let end = if build.ok { "succeeded" } else { "failed" };
                Err(SinkError::Unwanted(format!(
                    "the build {} {end}, but this webhook names no image, and the agent checks \
                     images only: let the build send {{\"v\":1,\"pushed\":[\"registry/repository:tag\"]}}",
                    build.name
                )))
            }
        }
    }
}

/// Those that pushes are passed on to.
#[derive(Clone)]
pub struct PushHearers {
    pub agent: AgentHandle,
    /// The rules of the mirror; absent if there are none.
    pub mirror: Option<MirrorHandle>,
}

/// Passes pushes on to the agent and to the mirror; pushes that arrive together become one command.
pub async fn pass_on(
    mut pushes: mpsc::Receiver<Vec<Push>>,
    PushHearers { agent, mirror }: PushHearers,
    stop: CancellationToken,
) {
    while let Some(Some(first)) = stop.run_until_cancelled(pushes.recv()).await {
        let mut gathered = BTreeSet::from_iter(first);
        tokio::time::sleep(GATHER_TIME).await;
        while let Ok(more) = pushes.try_recv() {
            gathered.extend(more);
        }
        if let Some(mirror) = &mirror {
            let pushed: Vec<_> = gathered.iter().cloned().collect();
            let rules = mirror.pushed(&pushed);
            tracing::debug!(rules, "the mirror heard of pushes");
        }
        if stop.run_until_cancelled(check(gathered, &agent)).await.is_none() {
            return;
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn check(pushed: BTreeSet<Push>, agent: &AgentHandle) {
    let pushes = pushed.len();
    let question = CheckPushed(pushed.into_iter().collect());
    // The sender gets its answer before any registry has answered, so that a registry that hangs
    // delays no other push.
    match agent.ask(Asker::Webhook, question).await {
        Ok(containers) => tracing::info!(pushes, containers, "checking what was pushed"),
        // The agent has already reported a round that could not run.
        Err(_) => tracing::debug!(pushes, "what was pushed could not be checked"),
    }
}
