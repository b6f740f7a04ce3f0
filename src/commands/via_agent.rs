//! Runs a command: through the running agent, or alone with the state directory locked.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;

use super::{CommandContext, quiet, say, stop_on_signal, waits_for};
use crate::agent::Events;
use crate::app;
use crate::control::RemoteQuestion;
use crate::control::client::Control;
use crate::documents::EventRow;
use crate::output::TerminalListener;

/// Runs a command, and shows its events on the terminal.
///
/// # Errors
/// It could not be fulfilled.
pub async fn ask<Q: RemoteQuestion>(
    setting: &CommandContext,
    question: Q,
) -> anyhow::Result<Q::Document> {
    let shown = TerminalListener::new(std::io::stdout(), setting.screen, setting.is_terminal);
    let terminal = Arc::new(shown.context("cannot show progress")?);
    let reply = match Control::connect(&setting.settings.state_dir).await? {
        Some(control) => remotely(&control, &question, &terminal).await,
        // Boxed, because it is by far the largest part of what a command waits for.
        None => Box::pin(alone(setting, question, terminal.clone())).await,
    };
    terminal.finish();
    reply
}

/// Ctrl-C detaches: the agent goes on.
async fn remotely<Q: RemoteQuestion>(
    control: &Control,
    question: &Q,
    terminal: &TerminalListener,
) -> anyhow::Result<Q::Document> {
    let stop = stop_on_signal()?;
    let show = |event: EventRow| terminal.show(event.event);
    tokio::select! {
        reply = control.ask(question, show, waits_for) => Ok(reply?),
        () = stop.cancelled() => anyhow::bail!(
            "detached; the agent continues, and `pilotfish status` and `pilotfish history` show the result"
        ),
    }
}

async fn alone<Q: RemoteQuestion>(
    setting: &CommandContext,
    question: Q,
    terminal: Arc<TerminalListener>,
) -> anyhow::Result<Q::Document> {
    let stop = stop_on_signal()?;
    let deployments = app::deployments(&setting.settings).await?;
    let mut agent = app::agent(
        &setting.settings,
        deployments,
        quiet(Events::new(vec![terminal])),
        stop.clone(),
    )?;
    let reply = agent.answer(question).await;
    agent.release_engine_lock().await;
    let reply = reply?;
    if stop.is_cancelled() && std::io::stderr().is_terminal() {
        say("stopped; the next start finishes or undoes open updates");
    }
    Ok(Q::Document::from(&reply))
}
