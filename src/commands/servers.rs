//! The servers of a running agent: pages, webhooks, and the control socket.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::daemon::DaemonState;
use super::server_tasks::ServerTasks;
use crate::api::{self, webhook};
use crate::app::{self, FleetConnection};
use crate::config::{Settings, WebhookSettings};
use crate::control::{self, server};
use crate::fleet;
use crate::metrics::Metrics;
use crate::mirror::MirrorHandle;

/// The webhook listener, its senders and its certificate.
pub(super) struct WebhookServer {
    listener: TcpListener,
    senders: api::WebhookSenders,
    tls: Option<api::ServerTls>,
}

/// Reads the secrets and the certificate before it listens, so that a wrong one ends nothing.
pub(super) async fn listen_for_webhooks(wanted: &WebhookSettings) -> anyhow::Result<WebhookServer> {
    let senders = api::WebhookSenders::read(&wanted.senders, app::now)?;
    let tls = wanted.tls.as_ref().map(|tls| api::ServerTls::read(&tls.cert_file, &tls.key_file));
    let tls = tls.transpose()?;
    let listener = api::bind("webhook.address", wanted.address).await?;
    Ok(WebhookServer { listener, senders, tls })
}

/// Serves webhooks to the agent.
pub(super) fn serve_webhook(
    server: WebhookServer,
    hosts: api::AllowedHosts,
    process: &DaemonState,
    mirror: Option<MirrorHandle>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) {
    let (sink, pushes) = webhook::queue();
    server.serve(sink, hosts, process.metrics(), tasks, end);
    let hearers = webhook::PushHearers { agent: process.agent.clone(), mirror };
    tasks.spawn(webhook::pass_on(pushes, hearers, end.clone()));
}

impl WebhookServer {
    /// Serves webhooks to any receiver.
    pub(super) fn serve(
        self,
        sink: impl api::WebhookSink,
        hosts: api::AllowedHosts,
        metrics: Arc<Metrics>,
        tasks: &ServerTasks,
        end: &CancellationToken,
    ) {
        let Self { listener, senders, tls } = self;
        if let Ok(address) = listener.local_addr() {
            tracing::info!(tls = tls.is_some(), %address, "listening for webhooks");
        }
        let router = api::guarded(webhook::router(senders, sink, metrics), hosts);
        tasks.spawn(api::serve_tls(listener, router, webhook::LIMITS, tls, end.clone()));
    }
}

/// Starts to listen where `/metrics`, `/healthz` and `/readyz` are served; `None` if that is off.
pub(super) async fn listen_for_pages(settings: &Settings) -> anyhow::Result<Option<TcpListener>> {
    Ok(match settings.listen_address {
        Some(address) => Some(api::bind("listen.address", address).await?),
        None => None,
    })
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
    mirror: Option<MirrorHandle>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) {
    let FleetConnection { broker, task, events, device } = connection;
    let (agent, observer) = (process.agent.clone(), process.fleet_observer());
    let (session_end, told) = (end.clone(), CancellationToken::new());
    let said = told.clone().drop_guard();
    tasks.spawn(async move {
        fleet::serve(broker, events, agent, (device, observer, mirror), session_end).await;
        drop(said);
    });
    tasks.spawn(task.run(told));
}

/// An agent without its control socket still works, so the error is only logged.
pub(super) fn serve_control(
    settings: &Settings,
    process: &DaemonState,
    mirror: Option<server::RunRules>,
    tasks: &ServerTasks,
    end: &CancellationToken,
) {
    let path = control::socket(&settings.state_dir);
    match server::bind(&path) {
        Ok(listener) => {
            tasks.spawn(server::serve(listener, process.agent.clone(), mirror, end.clone()));
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!(
                "no control socket at {path}, commands cannot reach this agent: {error}"
            );
        }
    }
}
