//! `pilotfish assist`: the command of the self-update helper.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::stale_socket::exit_with_socket;
use super::{CommandContext, Exit, quiet, stop_on_signal};
use crate::agent::{Agent, Events};
use crate::app::{self, RealPorts};
use crate::config::Settings;
use crate::core::update::self_update::LockOwner;
use crate::telemetry::LogListener;

/// How often the helper tries to take the lock until the agent releases it.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Updates the agent's container if an update is requested, and then waits to be removed: the
/// Engine would restart it if it ended.
pub async fn assist(setting: &CommandContext) -> anyhow::Result<Exit> {
    let stop = stop_on_signal()?;
    let settings = &setting.settings;
    let work = Box::pin(async {
        if let Some(mut agent) = take_engine_lock(settings, &stop).await? {
            agent.assist().await?;
        }
        tracing::info!("nothing more to do; the agent removes this container");
        anyhow::Ok(())
    });
    let until_removed = Box::pin(async {
        work.await?;
        stop.cancelled().await;
        anyhow::Ok(())
    });
    // A start of this container mounts the new socket, and continues the work.
    exit_with_socket(settings, &stop, until_removed).await??;
    Ok(Exit::Done)
}

/// The lock, if a helper may take it.
async fn take_engine_lock(
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Agent<RealPorts>>> {
    let is_asked = || {
        anyhow::Ok(
            app::self_update(&settings.state_dir)?
                .is_some_and(|self_update| self_update.turn == LockOwner::Helper),
        )
    };
    while is_asked()? && !stop.is_cancelled() {
        match app::agent(
            settings,
            Arc::default(),
            quiet(Events::new(vec![Arc::new(LogListener)])),
            stop.clone(),
        ) {
            Ok(agent) => return Ok(Some(agent)),
            Err(error) if app::is_in_use(&error) => {}
            Err(error) => return Err(error),
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(LOCK_INTERVAL)).await;
    }
    Ok(None)
}
