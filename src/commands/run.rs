//! `pilotfish run`: the agent and its servers.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::daemon::DaemonState;
use super::mirror_service::{begin_mirror, on_request};
use super::push_server::PushServer;
use super::server_tasks::ServerTasks;
use super::servers::{
    WebhookServer, listen_for_pages, listen_for_webhooks, serve_control, serve_fleet, serve_pages,
    serve_webhook,
};
use super::stale_socket::{StaleSocket, exit_with_socket};
use super::{CommandContext, Exit, load, standby, systemd};
use crate::agent::{Ask, RunEnd};
use crate::app::{self, FleetConnection};
use crate::config::Settings;
use crate::core::deployment::Deployments;

/// Checks on schedule until it is stopped. SIGHUP reads the configuration again: a valid one is
/// used after the current rounds and updates, an invalid or unusable one is reported and ignored.
/// Commands that wait run afterwards.
pub async fn run(setting: CommandContext) -> anyhow::Result<Exit> {
    let (process, mut queue) = DaemonState::new("waiting for the first round")?;
    let process = Arc::new(process);
    let shared = process.clone();
    let serve = async |settings: &Settings| serve(settings, &shared, &mut queue).await;
    serve_until_stopped(setting, process, serve).await
}

/// Serves with the settings of the command, and with each valid configuration that SIGHUP brings,
/// until the process is stopped.
pub(super) async fn serve_until_stopped(
    setting: CommandContext,
    process: Arc<DaemonState>,
    mut serve: impl AsyncFnMut(&Settings) -> anyhow::Result<RunEnd>,
) -> anyhow::Result<Exit> {
    let mut settings = setting.settings.clone();
    let (followed, mut wanted) = watch::channel(settings.clone());
    let tasks = ServerTasks::default();
    tasks.spawn(follow_configuration(setting, followed, process.clone()));
    let (snapshot, heart) = (process.snapshot.subscribe(), process.heart.clone());
    tasks.spawn(systemd::tell(process.idle, snapshot, heart, process.stop.clone()));
    let mut proven = None;
    let ended = loop {
        match serve(&settings).await {
            Ok(RunEnd::Stopped) => break Ok(()),
            Ok(RunEnd::SelfUpdating) => {}
            Ok(RunEnd::Reload) => {
                tracing::info!("using the new configuration");
                let wanted = wanted.borrow_and_update().clone();
                warn_about_log(&settings, &wanted);
                proven = Some(std::mem::replace(&mut settings, wanted));
            }
            Err(error) if error.is::<StaleSocket>() => break Err(error),
            Err(error) => {
                let Some(before) = proven.take() else { return Err(error) };
                settings = before;
                tracing::error!("the configuration stays as it was: {error:#}");
            }
        }
    };
    // The last message to systemd is that the agent stops.
    tasks.wait().await;
    tracing::info!("pilotfish ends");
    ended.map(|()| Exit::Done)
}

/// The log is set up only once, at the start.
fn warn_about_log(before: &Settings, after: &Settings) {
    if (before.log_format, before.log_level) != (after.log_format, after.log_level) {
        tracing::warn!("log.format and log.level take effect at the next start");
    }
}

/// Reads the configuration again at every SIGHUP.
async fn follow_configuration(
    setting: CommandContext,
    followed: watch::Sender<Settings>,
    process: Arc<DaemonState>,
) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while process.stop.run_until_cancelled(hangups.recv()).await.flatten().is_some() {
        match load(&setting.global) {
            Ok(settings) => {
                followed.send_replace(settings);
                process.reload.notify_one();
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error}"),
        }
    }
}

/// Where an agent listens.
struct Sockets {
    pages: Option<TcpListener>,
    webhooks: Option<WebhookServer>,
    push: Option<PushServer>,
}

async fn listen(settings: &Settings, deployments: &Arc<Deployments>) -> anyhow::Result<Sockets> {
    let pages = listen_for_pages(settings).await?;
    let webhooks = match &settings.webhook {
        Some(wanted) => Some(listen_for_webhooks(wanted).await?),
        None => None,
    };
    let push = match &settings.push {
        Some(wanted) => Some(PushServer::listen(wanted, Arc::clone(deployments)).await?),
        None => None,
    };
    Ok(Sockets { pages, webhooks, push })
}

/// Runs the agent with these settings. Problems are found before anything is written.
async fn serve(
    settings: &Settings,
    process: &DaemonState,
    queue: &mut mpsc::Receiver<Ask>,
) -> anyhow::Result<RunEnd> {
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let has_waited = standby::stand_by(settings, process).await?;
    if process.stop.is_cancelled() {
        return Ok(RunEnd::Stopped);
    }
    match app::check_state(&settings.state_dir) {
        // The self-update helper took the lock first.
        Err(error) if has_waited && app::is_in_use(&error) => return Ok(RunEnd::SelfUpdating),
        checked => checked?,
    }
    let deployments = app::deployments(settings).await?;
    let Sockets { pages, webhooks, push } = listen(settings, &deployments).await?;
    let agent = app::agent(settings, deployments, process.listeners(), process.stop.clone())?;
    let mut agent = agent.with_heart(process.heart.clone());
    let mqtt = settings.mqtt.as_ref();
    let fleet = mqtt.map(|mqtt| app::fleet(settings, mqtt, process.boot(&agent))).transpose()?;
    // The servers of this agent end with it, and not only with the process.
    let end = process.stop.child_token();
    let tasks = ServerTasks::default();
    if let Some(listener) = pages {
        tasks.spawn(serve_pages(listener, process.facts(), app::hosts(settings), end.clone()));
    }
    let sink = fleet.as_ref().map(FleetConnection::sink);
    let mirror = begin_mirror(settings, process, &agent, sink, &tasks, &end);
    let handle = mirror.as_ref().map(|mirror| mirror.handle());
    if let Some(server) = webhooks {
        serve_webhook(server, app::hosts(settings), process, handle.clone(), &tasks, &end);
    }
    if let Some(server) = push {
        server.serve(settings, process, &tasks, &end);
    }
    serve_control(settings, process, mirror.map(|it| on_request(it, &tasks, &end)), &tasks, &end);
    if let Some(connection) = fleet {
        serve_fleet(connection, process, handle, &tasks, &end);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        docker_host = %settings.docker_host,
        schedule = %settings.schedule,
        "pilotfish runs"
    );
    let work = Box::pin(agent.run(queue, &process.reload));
    let ended = exit_with_socket(settings, &process.stop, work).await;
    end.cancel();
    tasks.wait().await;
    Ok(ended?)
}
