//! Runs a command: through the running agent, or alone with the state directory locked.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;

use super::{CommandContext, quiet, say, stop_on_signal, waits_for};
use crate::agent::{AgentCommand, CommandReply};
use crate::app;
use crate::control::client::Control;
use crate::core::update::event::Listener;
use crate::output::TerminalListener;

/// Runs a command, and shows its events on the terminal.
///
/// # Errors
/// It failed.
pub async fn carry_out(
    setting: &CommandContext,
    command: AgentCommand,
) -> anyhow::Result<CommandReply> {
    let shown = TerminalListener::new(std::io::stdout(), setting.screen, setting.is_terminal);
    let terminal = Arc::new(shown.context("cannot show progress")?);
    let reply = match Control::connect(&setting.settings.state_dir).await? {
        Some(control) => ask(&control, &command, &*terminal).await,
        // Boxed, because it is by far the largest future of a command.
        None => Box::pin(alone(setting, command, terminal.clone())).await,
    };
    terminal.finish();
    reply
}

/// Ctrl-C detaches: the agent continues.
async fn ask(
    control: &Control,
    command: &AgentCommand,
    listener: &dyn Listener,
) -> anyhow::Result<CommandReply> {
    let stop = stop_on_signal()?;
    tokio::select! {
        reply = control.ask(command, listener, waits_for) => Ok(reply?),
        () = stop.cancelled() => anyhow::bail!(
            "detached; the agent continues, and `pilotfish status` and `pilotfish history` show the result"
        ),
    }
}

async fn alone(
    setting: &CommandContext,
    command: AgentCommand,
    terminal: Arc<TerminalListener>,
) -> anyhow::Result<CommandReply> {
    let stop = stop_on_signal()?;
    let mut agent = app::agent(&setting.settings, quiet(terminal), stop.clone())?;
    let reply = agent.carry_out(command).await;
    agent.release_engine_lock().await;
    let reply = reply?;
    if stop.is_cancelled() && std::io::stderr().is_terminal() {
        say("stopped; the next start finishes or undoes open updates");
    }
    Ok(reply)
}
