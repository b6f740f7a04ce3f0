//! Services of a Swarm in the loop: they are looked at in the same rounds as containers, and their
//! updates run beside those of containers.
//!
//! Only the agent of the leading manager acts. Swarm itself replaces the tasks, so an update of a
//! service needs neither the executor nor a place among the updates of this Engine.

// They are looked at, and decided.
mod look;
// Their updates: begun, ended, taken up again, rolled back by hand.
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

pub(in crate::agent) use look::ServicesLook;
pub(in crate::agent) use update::{ServiceResult, WaitingForService};

use super::Agent;
use crate::core::decide::snapshot::ActiveUpdate;
use crate::core::docker::reference::Reference;
use crate::core::subject::Subject;
use crate::core::time::schedule::Schedule;
use crate::core::update::Step;
use crate::engine::{Services as _, SwarmMembership};
use crate::observe::{self, WatchedService};
use crate::ports::Ports;

/// How often an Engine that is no manager is asked whether it has become one. A service that is
/// waiting for its first check waits no longer than that.
const MEMBERSHIP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// What the loop knows of services.
#[derive(Debug, Default)]
pub(in crate::agent) struct SwarmState {
    membership: SwarmMembership,
    asked_at: Option<Instant>,
    /// The watched services, by name.
    watched: BTreeMap<String, KnownService>,
    /// The services with an update in flight, each with its step.
    in_flight: BTreeMap<String, Option<Step>>,
    /// The services whose update could be neither finished nor undone so far, and why.
    stuck: BTreeMap<String, String>,
}

/// What the loop needs of a watched service between two looks.
#[derive(Debug)]
struct KnownService {
    schedule: Option<Schedule>,
    reference: Option<Reference>,
}

impl SwarmState {
    /// Whether one of the watched services has this name: `web` or `service/web`.
    pub(in crate::agent) fn is_watched(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The service of a name from a person: `web` or `service/web`.
    pub(in crate::agent) fn find(&self, name: &str) -> Option<&str> {
        let service = Subject::from_text(name);
        let service = service.service_name().unwrap_or(name);
        let (known, _) = self.watched.get_key_value(service)?;
        Some(known)
    }

    /// The schedules of services with one of their own, by the text of their subject.
    pub(in crate::agent) fn own_schedules(&self) -> BTreeMap<String, Schedule> {
        let own = |(name, known): (&String, &KnownService)| {
            Some((Subject::service(name).to_text(), known.schedule.clone()?))
        };
        self.watched.iter().filter_map(own).collect()
    }

    /// The services that follow one of these references, by the text of their subject.
    pub(in crate::agent) fn following(
        &self,
        is_meant: impl Fn(&Reference) -> bool,
    ) -> BTreeSet<String> {
        let follows =
            |(_, known): &(&String, &KnownService)| known.reference.as_ref().is_some_and(&is_meant);
        self.watched
            .iter()
            .filter(follows)
            .map(|(name, _)| Subject::service(name).to_text())
            .collect()
    }

    /// The updates in flight as the snapshot shows them.
    pub(in crate::agent) fn shown(&self) -> impl Iterator<Item = ActiveUpdate> + '_ {
        let shown = |(name, step): (&String, &Option<Step>)| ActiveUpdate {
            subject: Subject::service(name),
            step: *step,
        };
        self.in_flight.iter().map(shown)
    }

    /// Records the step of a service's update.
    pub(in crate::agent) fn note_step(&mut self, subject: &Subject, step: Step) {
        let name = subject.service_name().unwrap_or_default();
        if let Some(known) = self.in_flight.get_mut(name) {
            *known = Some(step);
        }
    }

    /// Those whose update could be neither finished nor undone so far.
    pub(in crate::agent) fn stuck(&self) -> impl Iterator<Item = Subject> + '_ {
        self.stuck.keys().map(Subject::service)
    }

    /// The Engine has said how it takes part in a Swarm.
    pub(in crate::agent) fn joined(&mut self, membership: SwarmMembership) {
        (self.membership, self.asked_at) = (membership, Some(Instant::now()));
    }

    /// The services with an update in flight, by the text of their subject.
    pub(in crate::agent) fn busy(&self) -> impl Iterator<Item = String> + '_ {
        self.in_flight.keys().map(|name| Subject::service(name).to_text())
    }

    fn follow(&mut self, services: &[WatchedService]) {
        let known = |service: &WatchedService| {
            let reference = service.facts.reference().map(|it| Reference { digest: None, ..it });
            let known = KnownService { schedule: service.schedule().cloned(), reference };
            (service.name().to_owned(), known)
        };
        self.watched = services.iter().map(known).collect();
    }
}

impl<P: Ports> Agent<P> {
    /// The watched services, if this Engine is a manager of a Swarm. A Swarm that does not answer
    /// is no reason not to check containers.
    pub(in crate::agent) async fn follow_services(&mut self) -> Vec<WatchedService> {
        let is_known = self.swarm.membership.is_manager
            || self.swarm.asked_at.is_some_and(|at| at.elapsed() < MEMBERSHIP_INTERVAL);
        if !is_known {
            // An Engine without a Swarm, such as Podman, may not know the question.
            let membership = self.context.ports.engine().swarm().await.unwrap_or_default();
            self.swarm.joined(membership);
        }
        if !self.swarm.membership.is_manager {
            self.swarm.watched.clear();
            return Vec::new();
        }
        let defaults = &self.context.settings.defaults;
        match observe::watched_services(&*self.context.ports, defaults).await {
            Ok(services) => {
                self.swarm.follow(&services);
                services
            }
            Err(error) => {
                // It may have left the Swarm, or lost its other managers.
                self.swarm.membership = SwarmMembership::default();
                self.context.warn(format!("the services of the Swarm are not known: {error}"));
                Vec::new()
            }
        }
    }
}
