//! Tells systemd how the agent stands: ready, what it waits for, and that it is alive.
//!
//! Outside of systemd there is no `NOTIFY_SOCKET`, and nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::Heartbeat;
use crate::core::decide::snapshot::Snapshot;

/// Reports every change until the agent ends. The watchdog is fed only while the agent is well and
/// its loop turns, at half of the time that systemd grants (`sd_watchdog_enabled(3)`).
pub async fn tell(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    heart: Heartbeat,
    stop: CancellationToken,
) {
    let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
    send(&[NotifyState::Ready]);
    let mut fed = Instant::now();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        send(&[NotifyState::Status(&status(&snapshot))]);
        let next = fed + watchdog.unwrap_or(Duration::MAX / 4).min(Duration::from_secs(86_400));
        tokio::select! {
            () = stop.cancelled() => break,
            changed = snapshots.changed() => if changed.is_err() { break },
            () = tokio::time::sleep_until(next) => {
                fed = Instant::now();
                if watchdog.is_some() && snapshot.illness(heart.overdue()).is_none() {
                    send(&[NotifyState::Watchdog]);
                }
            }
        }
    }
    send(&[NotifyState::Stopping]);
}

/// A line for `systemctl status`.
fn status(snapshot: &Snapshot) -> String {
    if let Some(trouble) = &snapshot.trouble {
        return format!("the last round could not run: {trouble}");
    }
    if let Some(container) = &snapshot.in_flight {
        return format!("updating {container}");
    }
    match snapshot.last_check {
        Some(at) => format!("watching {} containers, last checked {at}", snapshot.reports.len()),
        None => "waiting for the first round".to_owned(),
    }
}

/// A message that cannot be delivered concerns systemd, not the containers.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}
