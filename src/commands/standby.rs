//! What an agent does while a helper updates its container: it waits, and is seen to be alive.
//!
//! The agent before and the agent after the switch both wait here, so that the helper can judge
//! the new one: it listens, it has understood its configuration and what is in the state directory,
//! and it reaches the Engine. It writes nothing until the lock is its own.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::daemon::DaemonState;
use super::servers::{serve_control, serve_pages};
use super::stale_socket::is_lost;
use crate::agent::Agent;
use crate::api;
use crate::app::{self, RealPorts};
use crate::config::Settings;
use crate::core::decide::snapshot::ActiveUpdate;
use crate::core::update::self_update::{HelperState, LockOwner, SelfUpdate, is_forsaken};

/// How often it is looked whether the helper has ended. Two small files are read for it; the
/// Engine is asked only while nobody has the lock.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until the lock is meant for this agent. Says whether it was not: then somebody else may
/// still have the lock for a moment.
///
/// # Errors
/// This agent is no good: it cannot listen, read what is in the state directory, or reach the
/// Engine.
pub async fn stand_by(settings: &Settings, process: &DaemonState) -> anyhow::Result<bool> {
    let Some(self_update) = app::self_update(&settings.state_dir)? else { return Ok(false) };
    let agent = app::reader(settings, process.listeners(), process.stop.clone())?;
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
    let tasks = TaskTracker::new();
    if let Some(listener) = listener {
        tasks.spawn(serve_pages(listener, process.facts(), app::hosts(settings), end.clone()));
    }
    serve_control(settings, process, &tasks, &end);
    let waited = process.stop.run_until_cancelled(wait(&agent, settings)).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    process.publish(|snapshot| snapshot.in_flight.clear());
    waited.transpose()?;
    Ok(true)
}

/// Until it is the agent's turn, or nobody is at work any more.
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

/// An Engine that does not answer tells nothing of the helper. Where it never will, the helper is
/// taken for one that may still come.
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
