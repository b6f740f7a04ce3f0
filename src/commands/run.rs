//! `pilotfish run`: the agent, and what serves it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Exit, Setting, Several, load, standby, stop_on_signal, systemd};
use crate::agent::{Errand, RoundListener, RunEnd};
use crate::api::{self, notify};
use crate::app::{self, Listeners};
use crate::config::{NotifySettings, Settings};
use crate::control::{self, server};
use crate::core::decide::snapshot::Snapshot;
use crate::metrics::Metrics;
use crate::registry::RegistryObserver;
use crate::telemetry::LogListener;

/// What outlives a change of the configuration.
pub(super) struct Process {
    /// Cancelled when the process is to end.
    pub(super) stop: CancellationToken,
    metrics: Arc<Metrics>,
    events: server::Broadcast,
    snapshot: watch::Sender<Arc<Snapshot>>,
    wishes: mpsc::Sender<Errand>,
    reload: Notify,
}

impl Process {
    pub(super) fn listeners(&self) -> Listeners {
        let metrics = &self.metrics;
        Listeners {
            snapshot: self.snapshot.clone(),
            events: Arc::new(Several(vec![
                Arc::new(LogListener),
                metrics.clone(),
                Arc::new(self.events.clone()),
            ])),
            rounds: Arc::new(Counted(metrics.clone())),
            registries: Arc::new(Counted(metrics.clone())),
        }
    }

    /// What is told at the listen address.
    pub(super) fn facts(&self) -> api::Facts {
        api::Facts { snapshot: self.snapshot.subscribe(), metrics: self.metrics.clone() }
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }
}

/// Checks on schedule until it is told to stop. With SIGHUP the configuration is read again: a
/// valid one is followed from the end of the current round on, one that is invalid or cannot be
/// followed is told and left. Wishes that wait meanwhile are fulfilled afterwards.
pub async fn run(setting: Setting) -> anyhow::Result<Exit> {
    let (wishes, mut errands) = mpsc::channel(server::WISHES_WAITING_MAX);
    let process = Arc::new(Process {
        stop: stop_on_signal()?,
        metrics: Arc::new(Metrics::new().context("cannot set up the metrics")?),
        events: server::Broadcast::default(),
        snapshot: watch::Sender::new(Arc::default()),
        wishes,
        reload: Notify::new(),
    });
    let mut settings = setting.settings.clone();
    let (followed, mut wanted) = watch::channel(settings.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(follow_the_configuration(setting, followed, process.clone()));
    tasks.spawn(systemd::tell(process.snapshot.subscribe(), process.stop.clone()));
    let mut proven = None;
    loop {
        match serve(&settings, &process, &mut errands).await {
            Ok(RunEnd::Stopped) => break,
            Ok(RunEnd::HandedOver) => {}
            Ok(RunEnd::Reload) => {
                tracing::info!("following the new configuration");
                let wanted = wanted.borrow_and_update().clone();
                note_on_the_log(&settings, &wanted);
                proven = Some(std::mem::replace(&mut settings, wanted));
            }
            Err(error) => {
                let Some(before) = proven.take() else { return Err(error) };
                settings = before;
                tracing::error!("the configuration stays as it was: {error:#}");
            }
        }
    }
    // The last word to systemd is that the agent stops.
    tasks.close();
    tasks.wait().await;
    tracing::info!("pilotfish ends");
    Ok(Exit::Done)
}

/// The log is set up once, before anything else.
fn note_on_the_log(before: &Settings, after: &Settings) {
    if (before.log_format, before.log_level) != (after.log_format, after.log_level) {
        tracing::warn!("log.format and log.level are followed from the next start on");
    }
}

/// Reads the configuration again at every SIGHUP.
async fn follow_the_configuration(
    setting: Setting,
    followed: watch::Sender<Settings>,
    process: Arc<Process>,
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

/// The agent with these settings. What may be in its way is found before anything is written.
async fn serve(
    settings: &Settings,
    process: &Process,
    errands: &mut mpsc::Receiver<Errand>,
) -> anyhow::Result<RunEnd> {
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let has_waited = standby::stand_by(settings, process).await?;
    if process.stop.is_cancelled() {
        return Ok(RunEnd::Stopped);
    }
    match app::check_state(&settings.state_dir) {
        // The helper was faster after all.
        Err(error) if has_waited && app::is_in_use(&error) => return Ok(RunEnd::HandedOver),
        checked => checked?,
    }
    let listener = match settings.listen_address {
        Some(address) => Some(api::bind("listen.address", address).await?),
        None => None,
    };
    let notified = match &settings.notify {
        Some(wanted) => Some(listen_for_pushes(wanted).await?),
        None => None,
    };
    let mut agent = app::agent(settings, process.listeners(), process.stop.clone())?;
    // What serves this agent ends with it, and not only with the process.
    let end = process.stop.child_token();
    let tasks = TaskTracker::new();
    if let Some(listener) = listener {
        tasks.spawn(serve_pages(listener, process.facts(), end.clone()));
    }
    if let Some((listener, token)) = notified {
        serve_notify(listener, token, process.wishes.clone(), &tasks, &end);
    }
    serve_control(settings, process, &tasks, &end);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        docker_host = %settings.docker_host,
        schedule = %settings.schedule,
        "pilotfish runs"
    );
    let ended = agent.run(errands, &process.reload).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(ended)
}

/// Where registries tell of pushes, and the word by which they are known.
async fn listen_for_pushes(wanted: &NotifySettings) -> anyhow::Result<(TcpListener, api::Token)> {
    let token = api::Token::read(&wanted.token_file)?;
    Ok((api::bind("notify.address", wanted.address).await?, token))
}

fn serve_notify(
    listener: TcpListener,
    token: api::Token,
    errands: mpsc::Sender<Errand>,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "registries may tell of pushes");
    }
    let (sender, pushes) = notify::queue();
    let router = notify::router(token, sender);
    tasks.spawn(api::serve(listener, router, notify::LIMITS, end.clone()));
    tasks.spawn(notify::pass_on(pushes, errands, end.clone()));
}

pub(super) async fn serve_pages(listener: TcpListener, facts: api::Facts, end: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    }
    api::serve(listener, api::router(facts), api::Limits::DEFAULT, end).await;
}

/// An agent without its control socket still does its work: that is said, and no more.
pub(super) fn serve_control(
    settings: &Settings,
    process: &Process,
    tasks: &TaskTracker,
    end: &CancellationToken,
) {
    let path = control::socket(&settings.state_dir);
    match server::bind(&path) {
        Ok(listener) => {
            let facts = server::Facts {
                errands: process.wishes.clone(),
                events: process.events.clone(),
                snapshot: process.snapshot.subscribe(),
                now: app::now,
            };
            tasks.spawn(server::serve(listener, facts, end.clone()));
        }
        Err(error) => {
            let path = path.display();
            tracing::warn!(
                "no control socket at {path}, commands cannot reach this agent: {error}"
            );
        }
    }
}

/// Counts rounds and requests.
struct Counted(Arc<Metrics>);

impl RoundListener for Counted {
    fn round(&self, succeeded: bool, took: Duration) {
        self.0.round(succeeded, took);
    }
}

impl RegistryObserver for Counted {
    fn request(&self, registry: &str, code: &str) {
        self.0.request(registry, code);
    }

    fn rate_limit_remaining(&self, registry: &str, remaining: u64) {
        self.0.rate_limit_remaining(registry, remaining);
    }
}
