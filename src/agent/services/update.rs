//! Updates of services: begun, ended, taken up again, rolled back by hand.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agent::Agent;
use crate::agent::context::Context;
use crate::agent::handle::question::{Answer, AskError, RollbackEnd};
use crate::agent::round::RoundId;
use crate::agent::tasks::TaskResult;
use crate::agent::{RoundError, RoundRequest};
use crate::core::decide::memory::{Memory, Refusal};
use crate::core::docker::reference::Reference;
use crate::core::policy::Policy;
use crate::core::service::decision::{self, ServiceCase, ServiceDecision};
use crate::core::service::node::read_nodes;
use crate::core::service::plan::{ServiceHeader, ServiceOffer, ServicePlan};
use crate::core::service::prepull::is_leftover;
use crate::core::service::task::read_tasks;
use crate::core::subject::Subject;
use crate::core::update::event::Trigger;
use crate::core::update::history::{Outcome, Record};
use crate::engine::{EngineError, Services as _};
use crate::execute::{ServiceEnded, ServiceUpdate};
use crate::host::Host;
use crate::journal::ServiceJournal;
use crate::observe::WatchedService;
use crate::ports::Ports;
use crate::registry::Registry;

/// Who waits for an update of a service.
pub(in crate::agent) enum WaitingForService {
    Round(RoundId),
    /// A person who asked for a rollback.
    Asker(Answer<RollbackEnd>),
    /// It was left open by an earlier process.
    Nobody,
}

/// How an update of a service ended here.
pub(in crate::agent) enum ServiceResult {
    Ended(Box<Record>),
    /// The agent was asked to stop; Swarm goes on by itself.
    Left,
    /// It can be neither finished nor undone now.
    Unfinished(String),
    /// It could not begin.
    NotBegun(RoundError),
}

impl From<ServiceEnded> for ServiceResult {
    fn from(ended: ServiceEnded) -> Self {
        match ended {
            ServiceEnded::Finished(record) => Self::Ended(record),
            ServiceEnded::Left => Self::Left,
            ServiceEnded::Unfinished(error) => Self::Unfinished(error.to_string()),
        }
    }
}

impl<P: Ports> Context<P> {
    async fn update_service(&self, plan: ServicePlan, document: Value) -> ServiceResult {
        match self.begin_service(plan, &document).await {
            Ok((update, reference)) => {
                // Without the login the nodes pull as the service lets them.
                let login = self.ports.registry().credentials(&reference.registry).await;
                let login = login.ok().flatten();
                Box::pin(update.run(login.as_ref())).await.into()
            }
            Err(error) => ServiceResult::NotBegun(error),
        }
    }

    async fn begin_service(
        &self,
        plan: ServicePlan,
        document: &Value,
    ) -> Result<(ServiceUpdate<'_, P>, Reference), RoundError> {
        let tasks = read_tasks(&self.ports.engine().tasks(&plan.service_id).await?);
        let wrong = |error| EngineError::Garbage { call: "service", detail: format!("{error}") };
        let reference: Reference = plan.new_image.parse().map_err(wrong)?;
        let header = ServiceHeader::begin(plan, document, &tasks, self.ports.host().now());
        Ok((ServiceUpdate::begin(self.for_updates(), header)?, reference))
    }

    async fn take_up_service(&self, journal: ServiceJournal) -> ServiceResult {
        Box::pin(ServiceUpdate::of(self.for_updates(), journal).take_up()).await.into()
    }
}

impl<P: Ports> Agent<P> {
    /// Begins an update beside all others.
    pub(in crate::agent) fn begin_service_update(
        &mut self,
        plan: ServicePlan,
        document: Value,
        waiting: WaitingForService,
    ) {
        let (name, trigger) = (plan.service.clone(), self.trigger_of(&waiting));
        if let WaitingForService::Round(id) = &waiting {
            self.rounds.entry(*id).and_modify(|round| round.acting += 1);
        }
        self.swarm.in_flight.insert(name.clone(), None);
        self.show_in_flight();
        let context = self.context.for_trigger(trigger);
        self.tasks.act(async move {
            let result = context.update_service(plan, document).await;
            TaskResult::ServiceEnded(name, waiting, result)
        });
    }

    fn trigger_of(&self, waiting: &WaitingForService) -> Trigger {
        match waiting {
            WaitingForService::Round(id) => {
                self.rounds.get(id).map_or(Trigger::Schedule, |round| round.order.trigger)
            }
            _ => Trigger::Schedule,
        }
    }

    /// Finishes or undoes updates that an earlier process left open.
    pub(in crate::agent) fn take_up_services(&mut self) {
        if self.other_agent.is_some() || !self.swarm.membership.is_manager || self.is_ending() {
            return;
        }
        let journals = self.context.ports.state().open_service_journals();
        let journals = journals.unwrap_or_else(|error| {
            self.context.warn(format!("the updates of services cannot be taken up: {error}"));
            Vec::new()
        });
        for journal in journals {
            let name = journal.header.plan.service.clone();
            if self.swarm.in_flight.contains_key(&name) {
                continue;
            }
            self.swarm.in_flight.insert(name.clone(), None);
            let context = self.context.clone();
            self.tasks.act(async move {
                let result = context.take_up_service(journal).await;
                TaskResult::ServiceEnded(name, WaitingForService::Nobody, result)
            });
        }
        self.show_in_flight();
    }

    /// Removes the jobs for pulls that an agent left behind whose state is lost.
    pub(in crate::agent) async fn remove_leftover_jobs(&self) {
        if self.other_agent.is_some() || !self.swarm.membership.is_manager {
            return;
        }
        let (engine, now) = (self.context.ports.engine(), self.context.ports.host().now());
        // A Swarm that does not answer now is asked at the next start.
        let services = engine.services().await.unwrap_or_default();
        for job in services.iter().filter(|service| is_leftover(service, now)) {
            let id = job.get("ID").and_then(Value::as_str).unwrap_or_default();
            match engine.remove_service(id).await {
                Ok(_) => self.context.warn(format!("the job {id} of an earlier pull is removed")),
                Err(error) => self.context.warn(format!("the job {id} stays: {error}")),
            }
        }
    }

    /// An update of a service has ended, or could not begin.
    pub(in crate::agent) async fn service_ended(
        &mut self,
        name: String,
        waiting: WaitingForService,
        result: ServiceResult,
    ) {
        self.swarm.in_flight.remove(&name);
        self.swarm.stuck.remove(&name);
        self.show_in_flight();
        match &result {
            ServiceResult::Ended(record) => self.tell_fleet(record),
            ServiceResult::Left => {}
            ServiceResult::Unfinished(why) => {
                self.swarm.stuck.insert(name.clone(), why.clone());
                let detail = format!("its update can be neither finished nor undone now: {why}");
                self.context.warn_about_service(&name, detail);
            }
            ServiceResult::NotBegun(error) => {
                self.context.warn_about_service(&name, format!("no update began: {error}"));
            }
        }
        self.show_stuck(&self.open);
        match waiting {
            WaitingForService::Round(id) => {
                if let Some(round) = self.rounds.get_mut(&id) {
                    round.acting = round.acting.saturating_sub(1);
                    if let ServiceResult::Ended(record) = result {
                        round.end.records.push(*record);
                    }
                }
                if !self.is_ending() {
                    self.look_again_at_service(id, &name).await;
                }
            }
            WaitingForService::Asker(answer) => {
                let _ = answer.send(self.rolled_back(&name, result));
            }
            WaitingForService::Nobody => {}
        }
    }

    /// The answer to the person who asked for a rollback. What ran before is refused, so that the
    /// next round does not bring it back.
    fn rolled_back(&self, name: &str, result: ServiceResult) -> Result<RollbackEnd, AskError> {
        match result {
            ServiceResult::Ended(record) => {
                if record.outcome == Outcome::Updated {
                    self.refuse_what_was_left(&record);
                }
                Ok(RollbackEnd::Ended(record))
            }
            ServiceResult::NotBegun(error) => Err(AskError::Round(error)),
            ServiceResult::Left | ServiceResult::Unfinished(_) => {
                Err(AskError::LeftOpen(name.to_owned()))
            }
        }
    }

    fn refuse_what_was_left(&self, record: &Record) {
        let state = self.context.ports.state();
        let detail = "a person rolled the service back from it".to_owned();
        let digests: BTreeSet<_> = record.from.iter().cloned().collect();
        let refusal = Refusal { digests, at: record.finished_at, detail };
        let refused = state.memory().and_then(|mut memory| {
            memory.refuse(&record.subject, refusal);
            state.remember(&memory)
        });
        if let Err(error) = refused {
            self.context.warn(format!("the digest before the rollback is not refused: {error}"));
        }
        self.show_refused();
    }

    /// Begins a rollback to the image before the last update, or answers why it is not possible.
    pub(in crate::agent) async fn roll_service_back(
        &mut self,
        name: &str,
        answer: Answer<RollbackEnd>,
    ) {
        match self.plan_service_rollback(name).await {
            Ok((plan, document)) => {
                self.begin_service_update(plan, document, WaitingForService::Asker(answer));
            }
            Err(error) => _ = answer.send(Err(error)),
        }
    }

    async fn plan_service_rollback(
        &mut self,
        name: &str,
    ) -> Result<(ServicePlan, Value), AskError> {
        if self.swarm.in_flight.contains_key(name) {
            return Err(AskError::nothing_before(name, "an update is being carried out"));
        }
        let services = self.follow_services().await;
        let found = services.into_iter().find(|it| it.name() == name);
        let Some(WatchedService { facts, document, policy }) = found else {
            return Err(AskError::Round(RoundError::UnknownNames(vec![name.to_owned()])));
        };
        let policy: Policy = policy.map_err(|why| AskError::nothing_before(name, &why))?;
        let state = self.context.ports.state().memory().map_err(RoundError::from)?;
        let subject = Subject::service(name);
        let before = state.previous.get(&subject).and_then(|it| it.parse::<Reference>().ok());
        let Some(digest) = before.and_then(|before| before.digest) else {
            return Err(AskError::nothing_before(name, "it was never updated"));
        };
        let nodes = read_nodes(&self.context.ports.engine().nodes().await?);
        let request = RoundRequest { force: true, ..RoundRequest::default() };
        let case = ServiceCase {
            facts: &facts,
            nodes: &nodes,
            own_node: &self.swarm.membership.node_id,
            assumed: state.assumed.get(&subject).map(|it| &it.digest),
            memory: &Memory::default(),
            stable: policy.health.stable,
            healthy: policy.health.effective_timeout(facts.healthcheck.as_ref()),
            now: self.circumstances(&request).now,
        };
        let offer = ServiceOffer { digest, manifests: BTreeSet::new(), platforms: None };
        match decision::decide(case, &offer) {
            ServiceDecision::Update(plan) => Ok((*plan, document)),
            ServiceDecision::UpToDate => {
                Err(AskError::nothing_before(name, "it runs the image before its last update"))
            }
            ServiceDecision::No(no) => {
                let why = format!("{}: {}", no.reason, no.detail);
                Err(AskError::nothing_before(name, &why))
            }
        }
    }
}
