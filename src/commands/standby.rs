//! What an agent does while the helper updates its container: it waits, and shows that it is alive.
//!
//! The agent before and the agent after the switch both wait here, so that the helper can judge the
//! new one: it listens, it has read its configuration and the state directory, and it reaches the
//! Engine. It writes nothing until it has the lock.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::daemon::DaemonState;
use super::server_tasks::ServerTasks;
use super::servers::{serve_control, serve_pages};
use super::stale_socket::is_lost;
use crate::agent::Agent;
use crate::api;
use crate::app::{self, RealPorts};
use crate::config::Settings;
use crate::core::decide::snapshot::ActiveUpdate;
use crate::core::update::self_update::{HelperState, LockOwner, SelfUpdate, is_forsaken};

/// How often it checks whether the helper has ended. This reads two small files; the Engine is
/// asked only while the lock is free.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until this agent may take the lock. Returns whether it had to wait: then another process
/// may still hold the lock for a moment.
///
/// # Errors
/// This agent does not work: it cannot listen, read the state directory, or reach the Engine.
pub async fn stand_by(settings: &Settings, process: &DaemonState) -> anyhow::Result<bool> {
    let Some(self_update) = app::self_update(&settings.state_dir)? else { return Ok(false) };
    let agent = app::reader(settings, Arc::default(), process.listeners(), process.stop.clone())?;
    if !agent.is_meant(&self_update).await? {
        return Ok(false);
    }
    tracing::info!(
        container = self_update.container,
        helper = self_update.helper(),
        "waiting while the helper updates the agent's own container"
    );
    let listener = match settings.listen_address {
        Some(address) => Some(api::bind("listen.address", address).await?),
        None => None,
    };
    process.publish(|snapshot| {
        snapshot.is_ready = false;
        let subject = self_update.subject();
        snapshot.in_flight = vec![ActiveUpdate { subject, step: None }];
    });
    let end = process.stop.child_token();
    let tasks = ServerTasks::default();
    if let Some(listener) = listener {
        tasks.spawn(serve_pages(listener, process.facts(), app::hosts(settings), end.clone()));
    }
    serve_control(settings, process, None, &tasks, &end);
    let waited = process.stop.run_until_cancelled(wait(&agent, settings)).await;
    end.cancel();
    tasks.wait().await;
    process.publish(|snapshot| snapshot.in_flight.clear());
    waited.transpose()?;
    Ok(true)
}

/// Waits until the agent may take the lock, or no helper works any more.
async fn wait(agent: &Agent<RealPorts>, settings: &Settings) -> anyhow::Result<()> {
    let mut free_since = None;
    loop {
        let asked =
            agent.self_update()?.filter(|self_update| self_update.turn == LockOwner::Helper);
        if is_lock_free(&settings.state_dir) {
            let since = *free_since.get_or_insert_with(Instant::now);
            match asked {
                None => return Ok(()),
                Some(asked) if is_alone(agent, settings, &asked, since).await => return Ok(()),
                Some(_) => {}
            }
        } else {
            free_since = None;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// An Engine without an answer says nothing about the helper. If it never can, the helper counts as
/// one that may still start.
async fn is_alone(
    agent: &Agent<RealPorts>,
    settings: &Settings,
    asked: &SelfUpdate,
    free_since: Instant,
) -> bool {
    let unknown = is_lost(settings).then_some(HelperState::Runs);
    let helper = agent.helper(asked).await.or(unknown);
    helper.is_some_and(|helper| is_forsaken(helper, free_since.elapsed()))
}

fn is_lock_free(state_dir: &Path) -> bool {
    app::check_state(state_dir).is_ok()
}
