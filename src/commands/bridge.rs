//! `pilotfish bridge`: webhooks of registries and CI become messages of the broker.

use std::sync::Arc;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::daemon::DaemonState;
use super::run::serve_until_stopped;
use super::server_tasks::ServerTasks;
use super::servers::{listen_for_pages, listen_for_webhooks, serve_pages};
use super::{CommandContext, Exit};
use crate::agent::RunEnd;
use crate::app::{self, BridgeConnection};
use crate::broker::{BrokerEvent, BrokerEvents};
use crate::config::Settings;
use crate::fleet::FleetObserver;

/// Serves webhooks until it is stopped. It needs no Engine and keeps nothing on disk. SIGHUP reads
/// the configuration again.
pub async fn bridge(setting: CommandContext) -> anyhow::Result<Exit> {
    let (process, _) = DaemonState::new("passing webhooks on")?;
    let process = Arc::new(process);
    let shared = process.clone();
    serve_until_stopped(setting, process, async |settings| serve(settings, &shared).await).await
}

/// Serves webhooks with these settings. Problems are found before anything listens.
async fn serve(settings: &Settings, process: &DaemonState) -> anyhow::Result<RunEnd> {
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let Some(mqtt) = &settings.mqtt else {
        bail!("a bridge needs a broker: set mqtt.url");
    };
    let Some(webhook) = &settings.webhook else {
        bail!("a bridge needs an address for webhooks: set webhook.address");
    };
    let listener = listen_for_pages(settings).await?;
    let server = listen_for_webhooks(webhook).await?;
    let connection = app::bridge(settings, mqtt);
    let sink = connection.sink();
    let BridgeConnection { task, events, .. } = connection;
    let end = process.stop.child_token();
    let tasks = ServerTasks::default();
    if let Some(listener) = listener {
        tasks.spawn(serve_pages(listener, process.facts(), app::hosts(settings), end.clone()));
    }
    server.serve(sink, app::hosts(settings), process.metrics(), &tasks, &end);
    tasks.spawn(task.run(end.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the bridge runs");
    let observer = process.fleet_observer();
    let ended = tokio::select! {
        () = watch(events, process, &*observer, &end) => RunEnd::Stopped,
        () = process.reload.notified() => RunEnd::Reload,
    };
    end.cancel();
    tasks.wait().await;
    process.publish(|snapshot| snapshot.is_ready = false);
    Ok(ended)
}

/// Shows the connection in the log, in the metrics and in `/readyz`, until the end.
async fn watch(
    mut events: BrokerEvents,
    process: &DaemonState,
    observer: &dyn FleetObserver,
    end: &CancellationToken,
) {
    observer.connected(false);
    while let Some(Some(event)) = end.run_until_cancelled(events.next()).await {
        match event {
            BrokerEvent::Connected => {
                tracing::info!("connected to the broker");
                observer.connected(true);
                process.publish(|snapshot| snapshot.is_ready = true);
            }
            BrokerEvent::Lost(loss) => {
                tracing::warn!("no connection to the broker: {loss}");
                observer.connected(false);
                process.publish(|snapshot| snapshot.is_ready = false);
            }
            BrokerEvent::Refused { topic, reason, .. } => {
                tracing::warn!("the broker refuses a message on {topic}: {reason}");
                observer.refused_by_broker(reason);
            }
            BrokerEvent::Subscribed | BrokerEvent::Message(_) => {}
        }
    }
}
