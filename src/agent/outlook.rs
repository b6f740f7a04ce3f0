//! What rounds leave behind for later: images that wait for a window, and the window's opening.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Agent;
use crate::core::decide::Fetch;
use crate::core::decide::failing::FailedTry;
use crate::core::decide::observation::OpenUpdate;
use crate::core::docker::names;
use crate::core::update::event::Event;
use crate::engine::EngineError;
use crate::execute::{self, Trouble};
use crate::host::Host;
use crate::observe;
use crate::world::Ports;

/// What the devices of a fleet are spread over when a window opens, as jitter has it: a share of
/// this, or a time.
const OPENING_SPREAD: Duration = Duration::from_secs(600);

/// They are never spread further than this, which is the shortest window there is.
const OPENING_SPREAD_MAX: Duration = Duration::from_secs(60);

impl<P: Ports> Agent<P> {
    /// Fetches an image for an update that waits. What goes wrong is said, and tried again in the
    /// next round.
    pub(super) async fn fetch_ahead(&mut self, fetch: &Fetch) {
        self.has_images_ahead = true;
        let done = execute::fetch_ahead(&*self.ports, &*self.listener, &self.stop, fetch).await;
        match done {
            Ok(()) | Err(Trouble::Asked) => {}
            Err(trouble) => {
                let detail =
                    format!("the image could not be fetched ahead of its window: {trouble}");
                if !trouble.is_the_engine_away() {
                    let failed = fetch.failed_try(detail.clone(), self.ports.host().now());
                    self.pause_after(&fetch.container, failed);
                }
                let container = fetch.container.clone();
                self.listener.hear(&Event::Warning { container, detail });
            }
        }
    }

    /// An image that cannot be fetched is not fetched again in each round.
    pub(super) fn pause_after(&self, container: &str, failed: FailedTry) {
        let remembered = self.ports.state().memory().and_then(|mut memory| {
            memory.fail(container, failed);
            self.ports.state().remember(&memory)
        });
        if let Err(error) = remembered {
            self.warn(error.to_string());
        }
    }

    /// Drops images that were fetched ahead and are not wanted any more. Nothing is asked where
    /// there are none.
    pub(super) async fn drop_superseded(&mut self, open: &BTreeMap<String, OpenUpdate>) {
        if !self.has_images_ahead || self.stop.is_cancelled() {
            return;
        }
        let Ok(mut owners) = self.watched().await else { return };
        self.outlook.retain(&owners);
        owners.extend(open.keys().cloned());
        let engine = self.ports.engine();
        match execute::drop_superseded(engine, &self.outlook, &owners).await {
            Ok(are_left) => self.has_images_ahead = are_left,
            Err(error) => self.warn(format!("superseded images stay on disk: {error}")),
        }
    }

    /// What an earlier agent fetched is looked at at once, so that its window is known again.
    pub(super) async fn await_what_was_fetched(&mut self) {
        let Ok(found) = execute::fetched(self.ports.engine()).await else { return };
        let Ok(watched) = self.watched().await else { return };
        let now = self.ports.host().now();
        for container in watched {
            let repository = format!("{}:", names::next_repository(&container));
            if found.iter().any(|image| image.name.starts_with(&repository)) {
                self.outlook.wait(&container, now);
            }
        }
    }

    /// When the windows open that are waited for, in the time of the timetable, where it is `now`.
    pub(super) fn openings(&self, now: Duration) -> BTreeMap<String, Duration> {
        let clock = self.clock_of_this_device();
        let delay = |at: DateTime<Utc>| (at - clock).to_std().unwrap_or_default();
        let openings = self.outlook.openings();
        openings.map(|(name, at)| (name.to_owned(), now + delay(at))).collect()
    }

    /// After a turn: whoever was due for an opening and could not be checked is tried again.
    pub(super) fn put_off_openings(&mut self) {
        self.outlook.put_off(self.clock_of_this_device());
    }

    /// The time of day, put back so far that the devices of a fleet do not all come to an opening
    /// at once.
    fn clock_of_this_device(&self) -> DateTime<Utc> {
        let spread = self.settings.jitter.span(OPENING_SPREAD).min(OPENING_SPREAD_MAX);
        self.ports.host().now() - self.settings.device.of(spread)
    }

    pub(super) async fn watched(&mut self) -> Result<BTreeSet<String>, EngineError> {
        let list = self.list().await?;
        Ok(observe::watched_names(&list, &self.settings.defaults, &self.cache))
    }
}
