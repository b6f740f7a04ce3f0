//! Runs a command: through the running agent, or alone with the state directory locked.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use super::{CommandContext, quiet, say, stop_on_signal, waits_for};
use crate::agent::{Events, Question};
use crate::app;
use crate::control::RemoteQuestion;
use crate::control::client::Control;
use crate::core::update::event::EventSink;
use crate::output::TerminalListener;

/// Runs a command, and shows its events on the terminal.
///
/// # Errors
/// It could not be fulfilled.
pub async fn ask<Q>(setting: &CommandContext, question: Q) -> anyhow::Result<Q::Answer>
where
    Q: RemoteQuestion<Answer: DeserializeOwned>,
{
    let shown = TerminalListener::new(std::io::stdout(), setting.screen, setting.is_terminal);
    let terminal = Arc::new(shown.context("cannot show progress")?);
    let reply = match Control::connect(&setting.settings.state_dir).await? {
        Some(control) => remotely(&control, &question, &*terminal).await,
        // Boxed, because it is by far the largest part of what a command waits for.
        None => Box::pin(alone(setting, question, terminal.clone())).await,
    };
    terminal.finish();
    reply
}

/// Ctrl-C detaches: the agent goes on.
async fn remotely<Q>(
    control: &Control,
    question: &Q,
    sink: &dyn EventSink,
) -> anyhow::Result<Q::Answer>
where
    Q: RemoteQuestion<Answer: DeserializeOwned>,
{
    let stop = stop_on_signal()?;
    tokio::select! {
        reply = control.ask(question, sink, waits_for) => Ok(reply?),
        () = stop.cancelled() => anyhow::bail!(
            "detached; the agent continues, and `pilotfish status` and `pilotfish history` show the result"
        ),
    }
}

async fn alone<Q: Question>(
    setting: &CommandContext,
    question: Q,
    terminal: Arc<TerminalListener>,
) -> anyhow::Result<Q::Answer> {
    let stop = stop_on_signal()?;
    let mut agent =
        app::agent(&setting.settings, quiet(Events::new(vec![terminal])), stop.clone())?;
    let reply = agent.answer(question).await;
    agent.release_engine_lock().await;
    let reply = reply?;
    if stop.is_cancelled() && std::io::stderr().is_terminal() {
        say("stopped; the next start finishes or undoes open updates");
    }
    Ok(reply)
}
