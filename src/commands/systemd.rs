//! Reports the agent's state to systemd: ready, what it waits for, and that it is alive.
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

/// Reports every change until the agent ends. The watchdog is notified only while the agent is
/// healthy and its loop turns, at half of the time that systemd allows (`sd_watchdog_enabled(3)`).
pub async fn tell(
    idle: &'static str,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    heart: Heartbeat,
    stop: CancellationToken,
) {
    let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
    send(&[NotifyState::Ready]);
    let mut fed = Instant::now();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        send(&[NotifyState::Status(&status(idle, &snapshot))]);
        let next = fed + watchdog.unwrap_or(Duration::MAX / 4).min(Duration::from_secs(86_400));
        tokio::select! {
            () = stop.cancelled() => break,
            changed = snapshots.changed() => if changed.is_err() { break },
            () = tokio::time::sleep_until(next) => {
                fed = Instant::now();
                if watchdog.is_some() && is_fed(&snapshot, &heart) {
                    send(&[NotifyState::Watchdog]);
                }
            }
        }
    }
    send(&[NotifyState::Stopping]);
}

/// Whether the watchdog is notified: a loop that hangs must be restarted.
fn is_fed(snapshot: &Snapshot, heart: &Heartbeat) -> bool {
    snapshot.unhealthy_reason(heart.overdue()).is_none()
}

/// A line for `systemctl status`.
fn status(idle: &str, snapshot: &Snapshot) -> String {
    if let Some(error) = &snapshot.error {
        return format!("the last round could not run: {error}");
    }
    if let Some(containers) = snapshot.in_flight_words() {
        return format!("updating {containers}");
    }
    match snapshot.last_check {
        Some(at) => format!("watching {} containers, last checked {at}", snapshot.reports.len()),
        None => idle.to_owned(),
    }
}

/// An undelivered message concerns systemd, not the containers.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::snapshot::LOOP_OVERDUE_MAX;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_does_not_notify_the_watchdog() {
        let (snapshot, heart) = (Snapshot::default(), Heartbeat::default());
        heart.beat();
        tokio::time::sleep(LOOP_OVERDUE_MAX).await;
        assert!(is_fed(&snapshot, &heart));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!is_fed(&snapshot, &heart));
        heart.beat();
        assert!(is_fed(&snapshot, &heart), "it turns again");
    }
}
