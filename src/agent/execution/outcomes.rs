//! Handles the results of tasks: an update has ended, or the executor is free again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::executor::{Executor, Prepared, RollbackPlan, RollbackPrepared, TaskOutcome};
use super::in_flight::{EndedUpdate, UpdateId, UpdateResult, Waiting, footprint};
use super::recovery::Swept;
use super::{Requester, RunningTask};
use crate::agent::context::Context;
use crate::agent::deployments::order::RollbackAnswer;
use crate::agent::handle::question::{Answer, AskError, RecoverEnd, RollbackEnd};
use crate::agent::round::{DueContainer, RoundId};
use crate::agent::tasks::TaskResult;
use crate::agent::{Agent, RoundError};
use crate::core::decide::observation::{Observation, OpenUpdate};
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Report;
use crate::core::decide::{Decision, No};
use crate::core::update::event::Trigger;
use crate::core::update::history::Record;
use crate::ports::Ports;
use crate::recover::Recovered;

/// The result of one container in a round.
struct ContainerResult {
    observation: Observation,
    decision: Decision,
    record: Option<Record>,
    /// The containers whose earlier observations are out of date.
    touched: BTreeSet<String>,
}

impl<P: Ports> Agent<P> {
    /// The executor is free again.
    pub(in crate::agent) async fn executor_done(
        &mut self,
        executor: Box<Executor<P>>,
        done: TaskOutcome,
    ) {
        self.other_agent = executor.other_agent();
        self.executor = Some(executor);
        let Some(RunningTask { names, requester, is_recovering }) = self.work.take() else {
            return;
        };
        if let Requester::Round(id) = &requester {
            self.has_acted(*id);
        }
        match (done, requester) {
            (TaskOutcome::Prepared(prepared), Requester::Round(id)) => {
                self.prepared(id, *prepared).await;
            }
            (TaskOutcome::RollbackPrepared(prepared), Requester::RollBack(trigger, answer)) => {
                self.note_touched(names);
                self.rollback_prepared(*prepared, trigger, answer).await;
            }
            (TaskOutcome::Recovered { swept, is_self_updating }, requester) => {
                self.note_touched(names);
                self.is_self_updating |= is_self_updating;
                match requester {
                    Requester::Recover(_, answer) => self.recovered_for(swept, answer).await,
                    _ => self.recovered(swept).await,
                }
            }
            (TaskOutcome::Dropped(are_left), _) => {
                self.has_prefetched_images = are_left.unwrap_or(self.has_prefetched_images);
            }
            (TaskOutcome::PushPrepared(prepared), Requester::Push(trigger, answer)) => {
                self.note_touched(names);
                self.push_prepared(*prepared, trigger, answer).await;
            }
            (
                TaskOutcome::Prepared(_)
                | TaskOutcome::RollbackPrepared(_)
                | TaskOutcome::PushPrepared(_),
                _,
            ) => {}
        }
        if is_recovering {
            for order in std::mem::take(&mut self.postponed) {
                self.begin(order, None).await;
            }
        }
    }

    /// The context with the trigger of a round.
    fn context_of(&self, id: RoundId) -> Context<P> {
        let trigger = self.rounds.get(&id).map_or(Trigger::Schedule, |it| it.order.trigger);
        self.context.for_trigger(trigger)
    }

    fn has_acted(&mut self, id: RoundId) {
        self.rounds.entry(id).and_modify(|round| round.acting = round.acting.saturating_sub(1));
    }

    /// Marks earlier observations of these containers as out of date.
    pub(in crate::agent) fn note_touched(&mut self, names: BTreeSet<String>) {
        self.acts += 1;
        let acts = self.acts;
        self.touched.extend(names.into_iter().map(|name| (name, acts)));
    }

    /// Begins the update that was decided after the last look. If an update that began in the
    /// meantime conflicts with it, the container waits for that update's end.
    async fn prepared(&mut self, id: RoundId, prepared: Prepared) {
        let Prepared { due, is_self_updating } = prepared;
        let parallel = self.context.settings.update_parallel;
        if is_self_updating {
            self.is_self_updating = true;
            self.note_touched(BTreeSet::from([due.observation.name.clone()]));
            if let Some(round) = self.rounds.get_mut(&id) {
                round.end.self_updating = Some(due.observation.name.clone());
            }
        }
        let DueContainer { mut observation, facts, decision } = due;
        // The last look may have found another image.
        let decision = self.after_turn(&observation, decision, &facts.circumstances);
        let acts = matches!(decision, Decision::Update(_) | Decision::Fetch(_));
        if acts && self.is_ending() {
            return;
        }
        if acts && !self.updates.has_room_for(&footprint(&decision), parallel) {
            let due = DueContainer { observation, facts, decision };
            self.rounds.entry(id).and_modify(|round| round.due.push_front(due));
            return;
        }
        let readiness = observation.readiness.take();
        match (decision.clone(), readiness) {
            (Decision::Update(plan), Some(readiness)) => {
                self.has_prefetched_images |= plan.has_pre_update_hooks();
                let waiting = Waiting::Round(id, Box::new(observation));
                let update = self.begin_update(decision, waiting);
                let context = self.context_of(id);
                self.tasks.act(async move {
                    TaskResult::UpdateEnded(update, context.update(*plan, *readiness).await)
                });
            }
            (Decision::Fetch(fetch), _) => {
                self.has_prefetched_images = true;
                let waiting = Waiting::Round(id, Box::new(observation));
                let update = self.begin_update(decision, waiting);
                let context = self.context_of(id);
                self.tasks.act(async move {
                    TaskResult::UpdateEnded(update, context.prefetch(&fetch).await)
                });
            }
            _ => {
                let touched = BTreeSet::new();
                let result = ContainerResult { observation, decision, record: None, touched };
                self.acted(id, result);
            }
        }
    }

    pub(in crate::agent) fn begin_update(
        &mut self,
        decision: Decision,
        waiting: Waiting,
    ) -> UpdateId {
        if let Waiting::Round(id, _) = &waiting {
            self.rounds.entry(*id).and_modify(|round| round.acting += 1);
        }
        let id = self.updates.add(decision, waiting);
        self.show_in_flight();
        id
    }

    /// Begins a rollback by hand, or answers why it is not possible.
    async fn rollback_prepared(
        &mut self,
        prepared: RollbackPrepared,
        trigger: Trigger,
        answer: RollbackAnswer,
    ) {
        let RollbackPrepared { container, recovered, plan } = prepared;
        let recovered = recovered.and_then(|swept| self.settle(swept));
        let plan = match (recovered, plan) {
            (Err(error), _) => Err(AskError::Round(error)),
            (Ok(_), plan) => plan,
        };
        match plan {
            Ok(Some(plan)) => self.begin_rollback(plan, trigger, answer),
            Ok(None) => {
                self.is_self_updating = true;
                answer.send(Ok(RollbackEnd::SelfUpdating { container }));
            }
            Err(error) => answer.send(Err(error)),
        }
    }

    fn begin_rollback(&mut self, rollback: RollbackPlan, trigger: Trigger, answer: RollbackAnswer) {
        let RollbackPlan { plan, readiness } = rollback;
        let update = self.begin_update(Decision::Update(plan.clone()), Waiting::Asker(answer));
        let context = self.context.for_trigger(trigger);
        self.tasks.act(async move {
            TaskResult::UpdateEnded(update, context.update(*plan, *readiness).await)
        });
    }

    /// An update in flight has ended.
    pub(in crate::agent) async fn update_ended(&mut self, id: UpdateId, result: UpdateResult) {
        let Some(EndedUpdate { names, container, decision, waiting }) = self.updates.remove(id)
        else {
            return;
        };
        self.note_touched(names.clone());
        self.show_in_flight();
        if let UpdateResult::Unfinished(unfinished) = &result {
            let Self { recovery, context, .. } = self;
            recovery.note_unfinished(&*context.ports, &*context.listener, unfinished);
        }
        self.know_what_is_open(self.open_updates().await.unwrap_or_default());
        if let UpdateResult::Ended(record) = &result {
            self.tell_fleet(record);
        }
        match waiting {
            Waiting::Round(id, observation) => {
                self.has_acted(id);
                if let UpdateResult::Held(no) = &result {
                    self.hold_others(id, (&decision, no), &observation.name);
                }
                self.acted(id, container_result(result, *observation, decision, names));
            }
            Waiting::Asker(answer) => {
                let end = result.rollback_end(&container);
                let names = if end.is_ok() { names } else { BTreeSet::new() };
                self.finish_after_look(names, Box::new(move || answer.send(end))).await;
            }
            Waiting::Client(order, answer) => self.push_ended(order, answer, result).await,
        }
    }

    /// The gate has held the update of a group: its other members wait as well.
    fn hold_others(&mut self, id: RoundId, (decision, no): (&Decision, &No), lead: &str) {
        let Decision::Update(plan) = decision else { return };
        if plan.subject.group_name().is_none() {
            return;
        }
        let Some(mut round) = self.rounds.remove(&id) else { return };
        let waits = No::group_waits_for("the group", no);
        let earlier = Arc::clone(&self.snapshot.borrow());
        let others: BTreeSet<&str> = plan.names().filter(|name| *name != lead).collect();
        let is_other = |report: &&Report| {
            report.subject.container_name().is_some_and(|name| others.contains(name))
        };
        let of_group = earlier.reports.iter().filter(is_other);
        let reports: Vec<_> =
            of_group.map(|report| report.with_no(waits.reason, &waits.detail)).collect();
        self.show(&mut round, &reports);
        self.rounds.insert(id, round);
    }

    /// Remembers what a decision means for later rounds. Warns once of a lock that lasts too long.
    pub(in crate::agent) fn note_decision(
        &mut self,
        observation: &Observation,
        decision: &Decision,
    ) {
        self.pending.note(observation, decision);
        if let Some(news) = self.reported_locks.news(&observation.name, decision) {
            self.context.warn_about(observation.name.clone(), news);
        }
    }

    /// Reports the result of a container. Its round looks at it once more at its end.
    fn acted(&mut self, id: RoundId, acted: ContainerResult) {
        let ContainerResult { observation, decision, record, touched } = acted;
        self.note_decision(&observation, &decision);
        let Some(mut round) = self.rounds.remove(&id) else { return };
        round.end.records.extend(record);
        round.touched.extend(touched);
        self.show(&mut round, &[Report::of(&observation, &decision)]);
        self.rounds.insert(id, round);
    }

    /// Publishes the open updates if they have changed.
    fn know_what_is_open(&mut self, open: BTreeMap<String, OpenUpdate>) {
        let is_untouched =
            |open: &OpenUpdate| matches!(open, OpenUpdate::Elsewhere | OpenUpdate::Unproven);
        let (untouched, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            open.into_iter().partition(|(_, open)| is_untouched(open));
        if open != self.open {
            self.show_stuck(&open);
        }
        self.open = open;
        self.untouched.extend(untouched);
    }

    /// Handles the result of the recovery of open updates.
    ///
    /// # Errors
    /// The Engine went away before containers without a journal could be looked for. The results of
    /// the open updates are handled anyway.
    pub(in crate::agent) fn settle(&mut self, swept: Swept) -> Result<Recovered, RoundError> {
        let Self { recovery, context, .. } = self;
        let taken_up = (&swept.run, swept.taken_up);
        let mut recovered = recovery.settle(&*context.ports, &*context.listener, taken_up);
        for record in &recovered.records {
            self.tell_fleet(record);
        }
        let untouched = swept.untouched;
        self.untouched.clear();
        recovered
            .open
            .extend(untouched.iter().flatten().map(|(it, open)| (it.clone(), open.clone())));
        let mut open = recovered.open.clone();
        let in_flight = self.updates.names();
        open.extend(in_flight.into_iter().map(|name| (name, OpenUpdate::InFlight)));
        self.know_what_is_open(open);
        untouched.map(|_| recovered).map_err(RoundError::from)
    }

    /// Answers a person's `recover` command.
    async fn recovered_for(
        &mut self,
        swept: Result<Swept, RoundError>,
        answer: Answer<RecoverEnd>,
    ) {
        let Recovered { records, open } = match swept.and_then(|swept| self.settle(swept)) {
            Ok(recovered) => recovered,
            Err(error) => {
                let _ = answer.send(Err(error.into()));
                return;
            }
        };
        let ended = records.iter().flat_map(Record::containers);
        let touched: BTreeSet<_> = ended.chain(open.keys().cloned()).collect();
        let open = open.into_keys().collect();
        self.answer_after_look(Ok(RecoverEnd { records, open }), touched, answer).await;
    }

    /// Reports the result of the recovery to a round that waited for it.
    async fn recovered(&mut self, swept: Result<Swept, RoundError>) {
        let recovered = match swept.and_then(|swept| self.settle(swept)) {
            Ok(recovered) => recovered,
            // The log has already named the other agent.
            Err(RoundError::AnotherAgent(_)) => return,
            Err(error) => {
                let detail = format!("recovery waits for the next round: {error}");
                return self.context.warn(detail);
            }
        };
        self.publish(|snapshot| snapshot.is_ready = true);
        let names: BTreeSet<_> = recovered.records.iter().flat_map(Record::containers).collect();
        if let Some(round) = self.rounds.values_mut().find(|round| !round.waiting.is_empty()) {
            round.end.recovered.extend(recovered.records);
        } else if !names.is_empty() && self.snapshot.borrow().last_check.is_some() {
            // Their reports in the snapshot are out of date.
            self.look_once(names, None).await;
        }
    }
}

/// The result of an update for its round. An update that could not begin is an error of its own
/// container only.
fn container_result(
    result: UpdateResult,
    observation: Observation,
    decision: Decision,
    names: BTreeSet<String>,
) -> ContainerResult {
    let of = |decision, record, touched| ContainerResult { observation, decision, record, touched };
    match result {
        UpdateResult::Held(no) => of(Decision::No(no), None, BTreeSet::new()),
        UpdateResult::NotBegun(error) => {
            let no = No::new(Reason::EngineError, format!("no update began: {error}"));
            of(Decision::No(no), None, BTreeSet::new())
        }
        UpdateResult::Ended(record) => of(decision, Some(*record), names),
        UpdateResult::Left | UpdateResult::Unfinished(_) | UpdateResult::Prefetched => {
            of(decision, None, names)
        }
    }
}
