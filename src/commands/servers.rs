//! The servers of a running agent: pages, webhooks, and the control socket.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::daemon::DaemonState;
use crate::agent::AgentHandle;
use crate::api::{self, webhook};
use crate::app::FleetConnection;
use crate::config::{Settings, WebhookSettings};
use crate::control::{self, server};
use crate::fleet;

/// The webhook listener and its token.
pub(super) async fn listen_for_webhooks(
    wanted: &WebhookSettings,
) -> anyhow::Result<(TcpListener, api::WebhookToken)> {
    let token = api::WebhookToken::read(&wanted.token_file)?;
    Ok((api::bind("webhook.address", wanted.address).await?, token))
}

pub(super) fn serve_webhook(
    listener: TcpListener,
    token: api::WebhookToken,
    hosts: api::AllowedHosts,
    agent: AgentHandle,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening for webhooks");
    }
    let (sender, pushes) = webhook::queue();
    let router = api::guarded(webhook::router(token, sender), hosts);
    tasks.spawn(api::serve(listener, router, webhook::LIMITS, end.clone()));
    tasks.spawn(webhook::pass_on(pushes, agent, end.clone()));
}

pub(super) async fn serve_pages(
    listener: TcpListener,
    facts: api::ApiState,
    hosts: api::AllowedHosts,
    end: CancellationToken,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    }
    let router = api::guarded(api::router(facts), hosts);
    api::serve(listener, router, api::ConnectionLimits::DEFAULT, end).await;
}

/// Serves the connection to the broker. The session ends first, so that the connection can still
/// tell that the device leaves.
pub(super) fn serve_fleet(
    connection: FleetConnection,
    process: &DaemonState,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    let FleetConnection { broker, task, events, device } = connection;
    let (agent, observer) = (process.agent.clone(), process.fleet_observer());
    let (session_end, told) = (end.clone(), CancellationToken::new());
    let said = told.clone().drop_guard();
    tasks.spawn(async move {
        fleet::serve(broker, events, agent, (device, observer), session_end).await;
        drop(said);
    });
    tasks.spawn(task.run(told));
}

/// An agent without its control socket still works, so the error is only logged.
pub(super) fn serve_control(
    settings: &Settings,
    process: &DaemonState,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    let path = control::socket(&settings.state_dir);
    match server::bind(&path) {
        Ok(listener) => {
            tasks.spawn(server::serve(listener, process.agent.clone(), end.clone()));
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!(
                "no control socket at {path}, commands cannot reach this agent: {error}"
            );
        }
    }
}
