//! What rounds leave behind for later: images that wait for a window, and the window's opening.

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

/// What the devices of a fleet are spread over when a window opens, as jitter has it: a share of
/// this, or a time.
const OPENING_SPREAD: Duration = Duration::from_secs(600);

/// They are never spread further than this, which is the shortest window there is.
const OPENING_SPREAD_MAX: Duration = Duration::from_secs(60);

impl<P: Ports> Agent<P> {
    /// What an earlier agent fetched is looked at at once, so that its window is known again.
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

    /// When the windows open that are waited for, in the time of the timetable, where it is `now`.
    pub(super) fn openings(&self, now: Duration) -> BTreeMap<String, Duration> {
        let clock = self.device_clock();
        let delay = |at: DateTime<Utc>| (at - clock).to_std().unwrap_or_default();
        let openings = self.pending.openings();
        openings.map(|(name, at)| (name.to_owned(), now + delay(at))).collect()
    }

    /// After a turn: whoever was due for an opening and could not be checked is tried again.
    pub(super) fn put_off_openings(&mut self) {
        self.pending.put_off(self.device_clock());
    }

    /// The time of day, put back so far that the devices of a fleet do not all come to an opening
    /// at once.
    fn device_clock(&self) -> DateTime<Utc> {
        let spread = self.context.settings.jitter.span(OPENING_SPREAD).min(OPENING_SPREAD_MAX);
        self.context.ports.host().now() - self.context.settings.device.of(spread)
    }

    pub(super) async fn watched(&mut self) -> Result<BTreeSet<String>, EngineError> {
        let list = self.list().await?;
        Ok(observe::watched_names(&list, &self.context.settings.defaults, &self.cache))
    }
}
