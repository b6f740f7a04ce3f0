//! This agent watches leftover containers itself before it touches them, because a clock that was
//! set says nothing about how long they have been in this state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::core::docker::inspect;
use crate::core::policy::health_policy::HealthSettings;
use crate::core::recreate::restart_policy;
use crate::core::update::health::{HealthPolicy, HealthSource};
use crate::core::update::orphans::Health;

/// What is known of all leftover containers, by service.
#[derive(Debug, Default)]
pub struct OrphanWatch {
    seen: BTreeMap<String, Sighting>,
    /// The messages that a person already got.
    reported: BTreeSet<(String, String)>,
}

impl OrphanWatch {
    /// Forgets services without leftover containers.
    pub(super) fn retain(&mut self, services: &BTreeSet<String>) {
        self.seen.retain(|service, _| services.contains(service));
        self.reported.retain(|(service, _)| services.contains(service));
    }

    /// Whether a service is watched for a later decision.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        !self.seen.is_empty()
    }

    pub(super) fn knows(&self, service: &str) -> bool {
        self.seen.contains_key(service)
    }

    pub(super) fn forget(&mut self, service: &str) {
        self.seen.remove(service);
    }

    /// Whether this message about a service is new.
    pub(super) fn is_news(&mut self, service: &str, detail: &str) -> bool {
        self.reported.insert((service.to_owned(), detail.to_owned()))
    }

    /// Adds one observation of the containers of a service.
    pub(super) fn see(&mut self, service: &str, look: OrphanLook) -> &Sighting {
        let sighting = self.seen.entry(service.to_owned()).or_insert_with(|| Sighting::of(&look));
        sighting.see(look);
        sighting
    }
}

/// One observation.
#[derive(Debug)]
pub(super) struct OrphanLook {
    /// Changes when anything happens to these containers.
    pub(super) signs: String,
    /// How long an update of them may take.
    pub(super) settle: Duration,
    /// The health policy of the container with the service's name; absent if there is none.
    pub(super) policy: Option<HealthPolicy>,
    /// Whether it is healthy now.
    pub(super) is_well: bool,
    /// The end of its last HEALTHCHECK, as the Engine writes it.
    pub(super) last_check: String,
}

/// The observations of one service since its containers last changed.
#[derive(Debug)]
pub(super) struct Sighting {
    signs: String,
    since: Instant,
    well_since: Option<Instant>,
    /// The last HEALTHCHECK before the watch began. Its result does not count.
    check_before: String,
    is_checked: bool,
    settle: Duration,
    policy: Option<HealthPolicy>,
}

impl Sighting {
    fn of(look: &OrphanLook) -> Self {
        Self {
            signs: look.signs.clone(),
            since: Instant::now(),
            well_since: None,
            check_before: look.last_check.clone(),
            is_checked: false,
            settle: look.settle,
            policy: look.policy.clone(),
        }
    }

    fn see(&mut self, look: OrphanLook) {
        if self.signs != look.signs {
            *self = Self::of(&look);
        }
        self.is_checked |= self.check_before != look.last_check;
        self.well_since = look.is_well.then(|| self.well_since.unwrap_or_else(Instant::now));
        (self.settle, self.policy) = (look.settle, look.policy);
    }

    /// Whether nothing has happened for as long as an update takes.
    pub(super) fn has_settled(&self) -> bool {
        self.since.elapsed() >= self.settle
    }

    /// How long an update takes.
    pub(super) const fn settle(&self) -> Duration {
        self.settle
    }

    /// The health of the container with the service's name, by its own policy and times.
    pub(super) fn health(&self) -> Health {
        let Some(policy) = &self.policy else { return Health::Unknown };
        if policy.source == HealthSource::Healthcheck && !self.is_checked {
            return Health::Unknown;
        }
        match self.well_since {
            Some(since) if since.elapsed() >= policy.stable => Health::Healthy,
            None if self.since.elapsed() >= policy.timeout => Health::Unhealthy,
            _ => Health::Unknown,
        }
    }
}

/// All values of a container that change when anything happens to it.
pub(super) fn signs(document: &Value) -> String {
    let text = |pointer: &str| inspect::text(document, pointer);
    let restarts = document.pointer("/RestartCount").and_then(Value::as_i64).unwrap_or_default();
    let policy = restart_policy(document).map(|policy| policy.name).unwrap_or_default();
    let (id, name) = (inspect::id(document), inspect::name(document));
    let (started, finished) = (text("/State/StartedAt"), text("/State/FinishedAt"));
    format!("{id} {name} {} {started} {finished} {restarts} {policy};", text("/State/Status"))
}

/// How long an update to this container may take, without its stop.
pub(super) fn trial(settings: &HealthSettings, document: &Value) -> Duration {
    let policy = HealthPolicy::of(settings, document);
    policy.timeout.saturating_add(policy.stable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn look(signs: &str, is_well: bool, last_check: &str) -> OrphanLook {
        let policy = HealthPolicy {
            source: HealthSource::Healthcheck,
            timeout: 60 * SECOND,
            stable: 30 * SECOND,
            own_check: None,
        };
        OrphanLook {
            signs: signs.to_owned(),
            settle: 100 * SECOND,
            policy: Some(policy),
            is_well,
            last_check: last_check.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_time_that_was_watched_counts() {
        let mut sightings = OrphanWatch::default();
        assert!(!sightings.see("till", look("1", true, "a")).has_settled());
        tokio::time::advance(99 * SECOND).await;
        assert!(!sightings.see("till", look("1", true, "a")).has_settled());
        tokio::time::advance(SECOND).await;
        assert!(sightings.see("till", look("1", true, "a")).has_settled());
        assert!(!sightings.see("till", look("2", true, "a")).has_settled(), "something happened");
    }

    #[tokio::test(start_paused = true)]
    async fn health_is_what_was_seen_and_not_what_was_said_before() {
        let mut sightings = OrphanWatch::default();
        sightings.see("till", look("1", true, "a"));
        tokio::time::advance(200 * SECOND).await;
        let stale = sightings.see("till", look("1", true, "a")).health();
        assert_eq!(stale, Health::Unknown, "its HEALTHCHECK has not run since");
        assert_eq!(sightings.see("till", look("1", true, "b")).health(), Health::Healthy);
        assert_eq!(sightings.see("till", look("1", false, "c")).health(), Health::Unhealthy);
        assert_eq!(sightings.see("till", look("1", true, "d")).health(), Health::Unknown);
        tokio::time::advance(30 * SECOND).await;
        assert_eq!(sightings.see("till", look("1", true, "e")).health(), Health::Healthy);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_told_once() {
        let mut sightings = OrphanWatch::default();
        assert!(sightings.is_news("till", "stays"));
        assert!(!sightings.is_news("till", "stays"));
        sightings.retain(&BTreeSet::new());
        assert!(sightings.is_news("till", "stays"));
    }
}
