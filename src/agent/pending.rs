//! What rounds leave for later: images that wait for a window, and the time when the window opens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Agent;
use crate::core::docker::names;
use crate::engine::EngineError;
use crate::execute;
use crate::host::Host;
use crate::observe;
use crate::ports::Ports;

/// The time over which the devices of a fleet are spread when a window opens. `jitter` is a share
/// of this, or a time.
const OPENING_SPREAD: Duration = Duration::from_secs(600);

/// The limit of this spread: the length of the shortest possible window.
const OPENING_SPREAD_MAX: Duration = Duration::from_secs(60);

impl<P: Ports> Agent<P> {
    /// Registers images that an earlier agent pulled before their window, so that their windows are
    /// known.
    pub(super) async fn await_what_was_fetched(&mut self) {
        let Ok(found) = execute::fetched(self.context.ports.engine()).await else { return };
        let Ok(watched) = self.watched().await else { return };
        let now = self.context.ports.host().now();
        for container in watched {
            let repository = format!("{}:", names::next_repository(&container));
            if found.iter().any(|image| image.name.starts_with(&repository)) {
                self.pending.wait(&container, now);
            }
        }
    }

    /// When the windows open that images wait for, in the time of the timetable. `now` is the
    /// present time there.
    pub(super) fn openings(&self, now: Duration) -> BTreeMap<String, Duration> {
        let clock = self.device_clock();
        let delay = |at: DateTime<Utc>| (at - clock).to_std().unwrap_or_default();
        let openings = self.pending.openings();
        openings.map(|(name, at)| (name.to_owned(), now + delay(at))).collect()
    }

    /// After a turn: a container whose window opened but that could not be checked is tried again
    /// later.
    pub(super) fn put_off_openings(&mut self) {
        self.pending.put_off(self.device_clock());
    }

    /// The time of day, shifted back by this device's place, so that the devices of a fleet do not
    /// all act at once when a window opens.
    fn device_clock(&self) -> DateTime<Utc> {
        let spread = self.context.settings.jitter.span(OPENING_SPREAD).min(OPENING_SPREAD_MAX);
        self.context.ports.host().now() - self.context.settings.device.of(spread)
    }

    pub(super) async fn watched(&mut self) -> Result<BTreeSet<String>, EngineError> {
        let list = self.list().await?;
        Ok(observe::watched_names(&list, &self.context.settings.defaults, &self.cache))
    }
}
