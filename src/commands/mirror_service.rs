//! What the mirror shares with the world around it: webhooks and the broker tell it of pushes, and
//! it tells of copies.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::daemon::DaemonState;
use super::server_tasks::ServerTasks;
use crate::agent::Agent;
use crate::api::{SinkError, WebhookNews, WebhookSink};
use crate::app::{self, BridgeConnection, RealPorts, RealSink};
use crate::broker::{BrokerEvent, BrokerEvents};
use crate::config::Settings;
use crate::control::server::RunRules;
use crate::core::docker::webhook::Push;
use crate::core::fleet::message::Incoming;
use crate::core::fleet::topic::Topics;
use crate::documents::{MirrorDocument, MirrorRuleRow};
use crate::fleet::{FleetObserver, announce_copies, copies};
use crate::mirror::{Mirror, MirrorHandle, Turns};
use crate::ports::MirrorPorts;

/// The receiver of webhooks of a program that only mirrors.
pub(super) struct CopySink(pub(super) MirrorHandle);

impl WebhookSink for CopySink {
    async fn take(&self, sender: &str, news: WebhookNews) -> Result<(), SinkError> {
        let WebhookNews::Pushed(pushes) = news else {
            let why = "this webhook names no image, and the mirror copies images only";
            return Err(SinkError::Unwanted(why.to_owned()));
        };
        match self.0.pushed(&pushes) {
            0 => tracing::debug!(sender, "a webhook concerns no rule"),
            rules => tracing::info!(sender, rules, "a push was reported"),
        }
        Ok(())
    }
}

/// Listens to the announcements of a broker.
pub(super) fn serve_broker(
    connection: BridgeConnection,
    mirror: MirrorHandle,
    observer: Arc<dyn FleetObserver>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) {
    let BridgeConnection { task, events, topics, .. } = connection;
    tasks.spawn(task.run(end.clone()));
    let end = end.clone();
    tasks.spawn(async move {
        end.run_until_cancelled(hear(events, &topics, &mirror, &*observer)).await;
    });
}

async fn hear(
    mut events: BrokerEvents,
    topics: &Topics,
    mirror: &MirrorHandle,
    observer: &dyn FleetObserver,
) {
    observer.connected(false);
    while let Some(event) = events.next().await {
        match event {
            BrokerEvent::Connected => {
                tracing::info!("connected to the broker");
                observer.connected(true);
            }
            BrokerEvent::Lost(loss) => {
                tracing::warn!("no connection to the broker: {loss}");
                observer.connected(false);
            }
            BrokerEvent::Refused { topic, reason, .. } => {
                tracing::warn!("the broker refuses {topic}: {reason}");
                observer.refused_by_broker(reason);
            }
            BrokerEvent::Message(message) => {
                if let Some(push) = announced(topics, &message.topic, &message.payload, observer) {
                    let rules = mirror.pushed(&[push]);
                    tracing::debug!(rules, "a push was announced");
                }
            }
            BrokerEvent::Subscribed => {}
        }
    }
}

fn announced(
    topics: &Topics,
    topic: &str,
    payload: &[u8],
    observer: &dyn FleetObserver,
) -> Option<Push> {
    match Incoming::read(&topics.parse(topic)?, payload) {
        Ok(Incoming::Announcement(announcement)) => Some(announcement.push()),
        Ok(_) => None,
        Err(error) => {
            observer.refused(error.word());
            None
        }
    }
}

/// Carries out the rules beside the agent, whose updates go first; `None` if there is no rule. The
/// ports are the agent's, so logins, tokens and quotas are the same.
pub(super) fn begin_mirror(
    settings: &Settings,
    process: &DaemonState,
    agent: &Agent<RealPorts>,
    sink: Option<RealSink>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) -> Option<Arc<Mirror<RealPorts>>> {
    let (heard, copies) = copies();
    let turns = Turns::new(Some(process.snapshot.subscribe()));
    let listener = process.mirror_listener(heard);
    let mirror = Arc::new(app::mirror(settings, agent.ports(), turns, listener));
    process.metrics().follow_mirror(mirror.rules());
    if settings.mirror.is_empty() {
        return None;
    }
    tasks.spawn(announce_copies(copies, Some(process.agent.clone()), sink, end.clone()));
    tasks.spawn(mirror.clone().run(end.clone()));
    Some(mirror)
}

/// Carries out rules once.
pub(super) async fn run_rules<P: MirrorPorts>(
    mirror: Arc<Mirror<P>>,
    names: Option<BTreeSet<String>>,
) -> MirrorDocument {
    let reports = mirror.clone().run_once(names.as_ref()).await;
    let rows = reports.iter().map(|(rule, report)| MirrorRuleRow::of_run(rule, report));
    MirrorDocument::new(app::now(), rows.collect(), &mirror.quotas())
}

/// Carries out rules when a command asks for it. A command that detaches does not end the run.
pub(super) fn on_request<P: MirrorPorts>(
    mirror: Arc<Mirror<P>>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) -> RunRules {
    let (tasks, end) = (tasks.clone(), end.clone());
    Arc::new(move |names| {
        let known: BTreeSet<_> = mirror.rules().map(|rule| rule.name.clone()).collect();
        if !names.is_subset(&known) {
            return None;
        }
        let (mirror, end) = (mirror.clone(), end.clone());
        let running = tasks
            .spawn(async move { end.run_until_cancelled(run_rules(mirror, Some(names))).await });
        Some(async move { running.await.ok().flatten() }.boxed())
    })
}
