//! Fulfils a wish: through the agent where one runs, with the state directory to itself otherwise.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;

use super::{CommandContext, quiet, say, stop_on_signal, waits_for};
use crate::agent::{AgentCommand, CommandReply};
use crate::app;
use crate::control::client::Control;
use crate::core::update::event::Listener;
use crate::output::TerminalListener;

/// Fulfils a wish, and shows on the terminal what happens meanwhile.
///
/// # Errors
/// It could not be fulfilled.
pub async fn fulfil(setting: &CommandContext, wish: AgentCommand) -> anyhow::Result<CommandReply> {
    let shown = TerminalListener::new(std::io::stdout(), setting.screen, setting.is_terminal);
    let terminal = Arc::new(shown.context("cannot show progress")?);
    let fulfilled = match Control::connect(&setting.settings.state_dir).await? {
        Some(control) => ask(&control, &wish, &*terminal).await,
        // Boxed, because it is by far the largest part of what a command waits for.
        None => Box::pin(alone(setting, wish, terminal.clone())).await,
    };
    terminal.finish();
    fulfilled
}

/// Ctrl-C detaches: the agent goes on.
async fn ask(
    control: &Control,
    wish: &AgentCommand,
    listener: &dyn Listener,
) -> anyhow::Result<CommandReply> {
    let stop = stop_on_signal()?;
    tokio::select! {
        fulfilled = control.ask(wish, listener, waits_for) => Ok(fulfilled?),
        () = stop.cancelled() => anyhow::bail!(
            "detached; the agent goes on, and `pilotfish status` and `pilotfish history` tell how"
        ),
    }
}

async fn alone(
    setting: &CommandContext,
    wish: AgentCommand,
    terminal: Arc<TerminalListener>,
) -> anyhow::Result<CommandReply> {
    let stop = stop_on_signal()?;
    let mut agent = app::agent(&setting.settings, quiet(terminal), stop.clone())?;
    let fulfilled = agent.fulfil(wish).await;
    agent.release_engine_lock().await;
    let fulfilled = fulfilled?;
    if stop.is_cancelled() && std::io::stderr().is_terminal() {
        say("stopped; what is open is finished or undone by the next start");
    }
    Ok(fulfilled)
}
