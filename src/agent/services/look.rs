//! Services are looked at, and decided.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::WaitingForService;
use crate::agent::Agent;
use crate::agent::round::facts::{LookFacts, Names};
use crate::agent::round::{RoundId, Stage};
use crate::agent::tasks::TaskResult;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Report;
use crate::core::service::decision::ServiceDecision;
use crate::core::subject::Subject;
use crate::engine::EngineError;
use crate::observe::{self, ObservedService, ServiceScope, WatchedService, is_named};
use crate::ports::Ports;

/// The result of a look at services.
pub(in crate::agent) struct ServicesLook {
    pub(in crate::agent) round: RoundId,
    /// What was looked at: name and image.
    asked: Vec<(String, String)>,
    observed: Result<Vec<ObservedService>, EngineError>,
}

impl<P: Ports> Agent<P> {
    /// Looks at the services of a round.
    pub(in crate::agent) fn look_at_services(
        &mut self,
        id: RoundId,
        services: Vec<WatchedService>,
        facts: &LookFacts,
    ) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let services: Vec<_> =
            services.into_iter().filter(|it| is_meant(&facts.names, it.name())).collect();
        if services.is_empty() {
            return;
        }
        round.questions += 1;
        let asked = services.iter();
        let asked: Vec<_> =
            asked.map(|it| (it.name().to_owned(), it.facts.image.clone())).collect();
        let (context, own_node) = (self.context.clone(), self.swarm.membership.node_id.clone());
        let (circumstances, memory) = (facts.circumstances.clone(), facts.memory.clone());
        self.tasks.look(async move {
            let scope = ServiceScope {
                defaults: &context.settings.defaults,
                circumstances: &circumstances,
                memory: &memory,
                own_node: &own_node,
            };
            let observed = observe::observe_services(&*context.ports, services, &scope).await;
            TaskResult::ServicesObserved(ServicesLook { round: id, asked, observed })
        });
    }

    /// Handles the decisions about services. Their updates begin at once.
    pub(in crate::agent) fn services_observed(&mut self, look: ServicesLook) {
        let ServicesLook { round: id, asked, observed } = look;
        self.is_answered(id);
        let Some(mut round) = self.rounds.remove(&id) else { return };
        let may_act = !round.order.request.dry_run
            && round.stage == Stage::Looking
            && self.other_agent.is_none()
            && !self.is_ending();
        let mut reports = Vec::new();
        let mut due = Vec::new();
        match observed {
            Ok(all) => {
                if !round.order.request.dry_run {
                    self.remember_assumed(&all);
                }
                self.show_tasks(&all);
                for observed in all {
                    let report = self.report_on(&observed);
                    let is_free = report.verdict == observed.report.verdict;
                    reports.push(report);
                    if round.order.request.dry_run && is_free {
                        round.end.service_outlines.extend(observed.outline);
                    }
                    if let (true, ServiceDecision::Update(plan)) = (is_free, observed.decision) {
                        due.push((plan, observed.service.document));
                    }
                }
            }
            Err(error) => reports.extend(asked.into_iter().map(|(name, image)| {
                let report = Report::of_digests(Subject::service(name), &image, None, None);
                report.with_no(Reason::EngineError, &error.to_string())
            })),
        }
        self.show(&mut round, &reports);
        self.rounds.insert(id, round);
        for (plan, document) in due.into_iter().filter(|_| may_act) {
            self.begin_service_update(*plan, document, WaitingForService::Round(id));
        }
    }

    /// Publishes the tasks of these services, and forgets those that are not watched any more.
    fn show_tasks(&self, all: &[ObservedService]) {
        self.snapshot.send_if_modified(|snapshot| {
            let mut shown = snapshot.service_tasks.clone();
            shown.retain(|name, _| self.swarm.is_watched(name));
            shown.extend(all.iter().map(|it| (it.service.name().to_owned(), it.tasks.clone())));
            let is_news = shown != snapshot.service_tasks;
            if is_news {
                Arc::make_mut(snapshot).service_tasks = shown;
            }
            is_news
        });
    }

    /// The report on a service; an update in flight, or one that is stuck, says more than the look.
    fn report_on(&self, observed: &ObservedService) -> Report {
        let name = observed.service.name();
        if self.swarm.in_flight.contains_key(name) {
            let detail = "an update is being carried out";
            return observed.report.with_no(Reason::UpdateInFlight, detail);
        }
        match self.swarm.stuck.get(name) {
            Some(why) => observed.report.with_no(Reason::Stuck, why),
            None => observed.report.clone(),
        }
    }

    /// Remembers what counts as the running digest of a service whose specification names none.
    fn remember_assumed(&self, all: &[ObservedService]) {
        let news: Vec<_> = all
            .iter()
            .filter_map(|it| Some((Subject::service(it.service.name()), it.assumed.clone()?)))
            .collect();
        if news.is_empty() {
            return;
        }
        let state = self.context.ports.state();
        let remembered = state.memory().and_then(|mut memory| {
            memory.assumed.extend(news);
            state.remember(&memory)
        });
        if let Err(error) = remembered {
            self.context.warn(format!("the digests of services cannot be remembered: {error}"));
        }
    }

    /// Looks once more at a service that an update has touched, for the report of its round.
    pub(in crate::agent) async fn look_again_at_service(&mut self, id: RoundId, name: &str) {
        let names = Names::only(BTreeSet::from([Subject::service(name).to_text()]));
        let services = self.follow_services().await;
        let Some(round) = self.rounds.get(&id) else { return };
        let request = round.order.request.clone();
        if let Ok(facts) = self.facts(names, &request, Some(Vec::new())).await {
            self.look_at_services(id, services, &facts);
        }
    }
}

fn is_meant(names: &Names, service: &str) -> bool {
    names.only.as_ref().is_none_or(|only| is_named(only, service))
        && !is_named(&names.except, service)
}
