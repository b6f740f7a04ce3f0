//! `pilotfish mirror`: copies images between registries.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::copy_progress::CopyProgress;
use super::daemon::DaemonState;
use super::mirror_service::{CopySink, on_request, run_rules, serve_broker};
use super::run::serve_until_stopped;
use super::server_tasks::ServerTasks;
use super::servers::{listen_for_pages, listen_for_webhooks, serve_control, serve_pages};
use super::{CommandContext, Exit, NullRoundListener, print, say, stop_on_signal};
use crate::agent::RunEnd;
use crate::app::{self, BridgeConnection};
use crate::cli::MirrorArguments;
use crate::config::Settings;
use crate::control::client::Control;
use crate::documents::{MirrorDocument, MirrorRuleRow};
use crate::fleet::{announce_copies, copies};
use crate::mirror::{MirrorListener, Turns};
use crate::output;

/// Copies until it is stopped, once, or not at all but says what would be copied.
pub async fn mirror(
    mut setting: CommandContext,
    arguments: MirrorArguments,
) -> anyhow::Result<Exit> {
    let MirrorArguments { rules, once, dry_run, json } = arguments;
    if json && !once && !dry_run {
        say("--json needs --once or --dry-run");
        return Ok(Exit::Usage);
    }
    if let Err(why) = choose(&mut setting.settings, &rules) {
        say(&why);
        return Ok(Exit::Usage);
    }
    if !once && !dry_run {
        return Box::pin(follow(setting, rules)).await;
    }
    let document = if dry_run { preview(&setting).await? } else { run_once(&setting).await? };
    let page = match json {
        true => output::mirror_json(&document).context("cannot write JSON")?,
        false => output::mirror(&document, setting.screen),
    };
    print(&page)?;
    Ok(exit_of(&document))
}

/// Keeps the rules with these names.
fn choose(settings: &mut Settings, names: &[String]) -> Result<(), String> {
    if settings.mirror.is_empty() {
        return Err(
            "there is no rule to carry out: add a [[mirror]] to the configuration".to_owned()
        );
    }
    let known: Vec<_> = settings.mirror.iter().map(|it| it.rule.name.clone()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no rule `{unknown}`; the rules are {}", known.join(", ")));
    }
    settings.mirror.retain(|it| names.is_empty() || names.contains(&it.rule.name));
    Ok(())
}

fn exit_of(document: &MirrorDocument) -> Exit {
    match document.has_failures() {
        true if document.is_failure() => Exit::Failed,
        true => Exit::Unchecked,
        false => Exit::Done,
    }
}

async fn preview(setting: &CommandContext) -> anyhow::Result<MirrorDocument> {
    let ports = app::mirror_reader(&setting.settings, Arc::new(NullRoundListener))?;
    let mirror = app::mirror(&setting.settings, Arc::new(ports), Turns::new(None), unheard());
    let previews = mirror.preview().await;
    let rows = previews.iter().map(|(rule, preview)| MirrorRuleRow::of_preview(rule, preview));
    Ok(MirrorDocument::new(app::now(), rows.collect(), &mirror.quotas()))
}

/// One run: by the agent that works with the state directory, or alone.
async fn run_once(setting: &CommandContext) -> anyhow::Result<MirrorDocument> {
    let stop = stop_on_signal()?;
    if let Some(control) = Control::connect(&setting.settings.state_dir).await? {
        let names = setting.settings.mirror.iter().map(|it| it.rule.name.clone()).collect();
        say("the running agent carries out the rules; Ctrl-C detaches, the agent continues");
        return tokio::select! {
            document = control.mirror(&names) => Ok(document?),
            () = stop.cancelled() => bail!("detached; the agent continues"),
        };
    }
    let ports = app::mirror_owner(&setting.settings, Arc::new(NullRoundListener))?;
    let progress = Arc::new(CopyProgress::default());
    let heard: Arc<dyn MirrorListener> = progress.clone();
    let mirror = app::mirror(&setting.settings, Arc::new(ports), Turns::new(None), heard);
    tokio::select! {
        document = run_rules(Arc::new(mirror), None) => Ok(document),
        () = progress.show(setting.is_terminal) => bail!("standard output cannot show the progress"),
        () = stop.cancelled() => bail!("stopped; the next run copies what is missing"),
    }
}

fn unheard() -> Arc<dyn MirrorListener> {
    Arc::new(Vec::<Arc<dyn MirrorListener>>::new())
}

/// Copies until it is stopped. SIGHUP reads the configuration again.
async fn follow(setting: CommandContext, rules: Vec<String>) -> anyhow::Result<Exit> {
    let (process, _) = DaemonState::new("copying by the rules of the mirror")?;
    let process = Arc::new(process);
    let shared = process.clone();
    let serve = async |settings: &Settings| {
        let mut settings = settings.clone();
        choose(&mut settings, &rules).map_err(anyhow::Error::msg)?;
        serve(&settings, &shared).await
    };
    serve_until_stopped(setting, process, serve).await
}

/// Serves webhooks, listens to the broker and copies, with these settings. Problems are found
/// before anything listens.
async fn serve(settings: &Settings, process: &DaemonState) -> anyhow::Result<RunEnd> {
    settings.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let pages = listen_for_pages(settings).await?;
    let webhooks = match &settings.webhook {
        Some(wanted) => Some(listen_for_webhooks(wanted).await?),
        None => None,
    };
    let ports = app::mirror_owner(settings, process.listeners().registries)?;
    let connection = settings.mqtt.as_ref().map(|mqtt| app::mirror_broker(settings, mqtt));
    let end = process.stop.child_token();
    let tasks = ServerTasks::default();
    let sink = connection.as_ref().map(BridgeConnection::sink);
    let (heard, copies) = copies();
    let listener = process.mirror_listener(heard);
    tasks.spawn(announce_copies(copies, None, sink, end.clone()));
    let mirror = Arc::new(app::mirror(settings, Arc::new(ports), Turns::new(None), listener));
    process.metrics().follow_mirror(mirror.rules());
    if let Some(listener) = pages {
        tasks.spawn(serve_pages(listener, process.facts(), app::hosts(settings), end.clone()));
    }
    if let Some(server) = webhooks {
        let sink = CopySink(mirror.handle());
        server.serve(sink, app::hosts(settings), process.metrics(), &tasks, &end);
    }
    if let Some(connection) = connection {
        let (handle, observer) = (mirror.handle(), process.fleet_observer());
        serve_broker(connection, handle, observer, &tasks, &end);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        rules = settings.mirror.len(),
        "the mirror runs"
    );
    process.publish(|snapshot| snapshot.is_ready = true);
    let rules = on_request(mirror.clone(), &tasks, &end);
    serve_control(settings, process, Some(rules), &tasks, &end);
    tasks.spawn(mirror.run(end.clone()));
    let ended = wait(process).await;
    end.cancel();
    tasks.wait().await;
    process.publish(|snapshot| snapshot.is_ready = false);
    Ok(ended)
}

async fn wait(process: &DaemonState) -> RunEnd {
    let stop: &CancellationToken = &process.stop;
    tokio::select! {
        () = stop.cancelled() => RunEnd::Stopped,
        () = process.reload.notified() => RunEnd::Reload,
    }
}
