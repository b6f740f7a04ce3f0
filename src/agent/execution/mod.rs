//! Carries out decisions, and handles the results.
//!
//! The executor does the work that must happen one at a time: the last look before an update, and
//! recovery. The updates run beside it, as many as the settings allow, if they share nothing.

// Work that must happen one at a time: the last look, recovery, clean-up.
pub(in crate::agent) mod executor;
// What can still hold an update: the Engine's lock, pre-update hooks.
pub(in crate::agent) mod gate;
// The Engine's lock: one agent works on an Engine.
pub(in crate::agent) mod engine_lock;
// The hooks before and after a round.
pub(in crate::agent) mod hooks;
// The plan of a rollback by hand.
mod rollback;
// The updates in flight, side by side.
pub(in crate::agent) mod in_flight;
// The results of tasks.
pub(in crate::agent) mod outcomes;
// Updates that an earlier agent left open.
pub(in crate::agent) mod recovery;

use std::collections::BTreeSet;

use crate::agent::deployments::order::{ClientAnswer, PushOrder, RollbackAnswer};
use crate::agent::handle::answers::{WaitingAsk, WaitingKind};
use crate::agent::handle::question::{Answer, RecoverEnd};
use crate::agent::round::{DueContainer, QueuedRound, Reply, RoundId};
use crate::agent::tasks::TaskResult;
use crate::agent::{Agent, RoundRequest};
use crate::core::update::event::Trigger;
use crate::ports::Ports;
use executor::{Executor, TaskOutcome};
use in_flight::footprint;

/// What the executor is doing.
pub(in crate::agent) struct RunningTask {
    /// The containers that it may touch.
    pub(in crate::agent) names: BTreeSet<String>,
    /// Whether it finishes or undoes open updates.
    pub(in crate::agent) is_recovering: bool,
    pub(in crate::agent) requester: Requester,
}

/// Who waits for the executor.
pub(in crate::agent) enum Requester {
    Nobody,
    Round(RoundId),
    RollBack(Trigger, RollbackAnswer),
    Push(Trigger, ClientAnswer),
    Recover(Trigger, Answer<RecoverEnd>),
}

impl<P: Ports> Agent<P> {
    /// The containers that the executor and the updates in flight may touch.
    pub(in crate::agent) fn names_at_work(&self) -> BTreeSet<String> {
        let mut names = self.updates.names();
        names.extend(self.work.iter().flat_map(|work| work.names.iter().cloned()));
        names.extend(self.deployments.names());
        names
    }

    /// The containers that are being updated, or that a round is checking or waits for. A container
    /// in recovery is not busy: the next round looks at it as soon as its recovery has ended.
    pub(in crate::agent) fn busy_names(&self) -> BTreeSet<String> {
        let mut busy = self.updates.names();
        busy.extend(self.swarm.busy());
        busy.extend(self.deployments.names());
        if let Some(work) = self.work.as_ref().filter(|work| !work.is_recovering) {
            busy.extend(work.names.iter().cloned());
        }
        for round in self.rounds.values() {
            busy.extend(round.asked.iter().chain(&round.waiting).cloned());
            busy.extend(round.due.iter().map(|due| due.observation.name.clone()));
        }
        busy
    }

    /// Whether the executor finishes or undoes open updates.
    pub(in crate::agent) fn is_recovering(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.is_recovering)
    }

    /// Continues with everything that can continue.
    pub(in crate::agent) async fn advance(&mut self) {
        while self.use_executor().await || self.move_on().await || self.ask_what_was_pushed().await
        {
        }
    }

    /// Checks the containers that a webhook named while they were being checked or replaced.
    async fn ask_what_was_pushed(&mut self) -> bool {
        let busy = self.busy_names();
        let is_free = |(name, _): &(&String, &Trigger)| !busy.contains(*name);
        let Some(trigger) = self.again.iter().find(is_free).map(|(_, trigger)| *trigger) else {
            return false;
        };
        if self.is_ending() {
            return false;
        }
        let free: BTreeSet<_> =
            self.again.keys().filter(|it| !busy.contains(*it)).cloned().collect();
        self.again.retain(|name, _| !free.contains(name));
        let request = RoundRequest { names: Some(free), ..RoundRequest::default() };
        self.begin(QueuedRound::new(request, trigger, Reply::Nobody), None).await;
        true
    }

    /// Gives the executor its next work; commands come first. Returns whether there was any.
    async fn use_executor(&mut self) -> bool {
        if self.executor.is_none() || self.is_ending() {
            return false;
        }
        if let Some(ask) = WaitingAsk::next(&mut self.asks, &self.updates.names()) {
            self.carry_out(ask);
            return true;
        }
        let Some((id, due)) = self.next_due() else { return false };
        let names = BTreeSet::from([due.observation.name.clone()]);
        let is_touched = self.touched.get(&due.observation.name) > Some(&due.facts.acts);
        // The plan of a group is made from all of its members, so it is made again as a whole.
        let is_old_group = due.decision.group().is_some() && due.facts.acts != self.acts;
        // An update has touched the container after this look at it.
        if is_touched || is_old_group {
            self.look_again(id, names).await;
        } else {
            self.prepare(id, due);
        }
        true
    }

    /// The next container whose update does not conflict with an update in flight. Rounds that a
    /// person asked for come first, then older rounds.
    fn next_due(&mut self) -> Option<(RoundId, DueContainer)> {
        let mut ids: Vec<_> =
            self.rounds.iter().map(|(id, round)| (round.order.is_due(), *id)).collect();
        ids.sort_unstable();
        let parallel = self.context.settings.update_parallel;
        for (_, id) in ids {
            let Some(round) = self.rounds.get_mut(&id) else { continue };
            let has_room =
                |due: &DueContainer| self.updates.has_room_for(&footprint(&due.decision), parallel);
            let position = round.due.iter().position(has_room);
            if let Some(due) = position.and_then(|position| round.due.remove(position)) {
                return Some((id, due));
            }
        }
        None
    }

    /// Takes the last look before a decision is carried out.
    pub(in crate::agent) fn prepare(&mut self, id: RoundId, due: DueContainer) {
        let is_old = due.facts.acts != self.acts;
        let names = footprint(&due.decision).with_container(&due.observation.name).containers;
        let Some(mut executor) = self.take_executor(names, Requester::Round(id)) else { return };
        let cache = self.cache.clone();
        self.tasks.act(async move {
            let prepared = executor.prepare(&cache, due, is_old).await;
            TaskResult::ExecutorDone(executor, TaskOutcome::Prepared(Box::new(prepared)))
        });
    }

    /// Finishes or undoes open updates.
    pub(in crate::agent) fn recover_open(&mut self, names: BTreeSet<String>) {
        self.recover_for(names, false, Requester::Nobody);
    }

    fn recover_for(&mut self, names: BTreeSet<String>, insist: bool, requester: Requester) {
        if self.executor.is_none() {
            return;
        }
        let run = self.recovery.begin_run(insist, self.updates.plans());
        let in_flight = self.updates.names();
        let Some(mut executor) = self.take_executor(names, requester) else { return };
        self.work.iter_mut().for_each(|work| work.is_recovering = !insist);
        self.tasks.act(async move {
            let swept = executor.recover_open(run, &in_flight).await;
            let is_self_updating = insist && swept.is_ok() && executor.recover_itself().await;
            let outcome = TaskOutcome::Recovered { swept, is_self_updating };
            TaskResult::ExecutorDone(executor, outcome)
        });
    }

    /// Carries out a question that needs the executor.
    fn carry_out(&mut self, WaitingAsk { trigger, kind }: WaitingAsk) {
        match kind {
            WaitingKind::Recover(answer) => {
                self.take_up_services();
                let names = self.open.keys().cloned().collect();
                self.recover_for(names, true, Requester::Recover(trigger, answer));
            }
            WaitingKind::RollBack(name, names, answer) => {
                self.prepare_rollback(name, names, trigger, answer);
            }
            WaitingKind::Push(order, answer) => self.prepare_push(*order, trigger, answer),
        }
    }

    fn prepare_push(&mut self, order: PushOrder, trigger: Trigger, answer: ClientAnswer) {
        let request = RoundRequest { force: order.force, ..RoundRequest::default() };
        let circumstances = self.circumstances(&request);
        let (cache, in_flight) = (self.cache.clone(), self.updates.names());
        let run = self.recovery.begin_run(false, self.updates.plans());
        let names = BTreeSet::from([order.deployment.container.clone()]);
        let requester = Requester::Push(trigger, answer);
        let Some(mut executor) = self.take_executor(names, requester) else { return };
        self.tasks.act(async move {
            let push = executor.prepare_push(order, cache, circumstances, (run, &in_flight));
            let outcome = TaskOutcome::PushPrepared(Box::new(Box::pin(push).await));
            TaskResult::ExecutorDone(executor, outcome)
        });
    }

    fn prepare_rollback(
        &mut self,
        name: String,
        names: BTreeSet<String>,
        trigger: Trigger,
        answer: RollbackAnswer,
    ) {
        let by = answer.by().map(str::to_owned);
        let requester = Requester::RollBack(trigger, answer);
        let circumstances =
            self.circumstances(&RoundRequest { force: true, ..RoundRequest::default() });
        let (cache, in_flight) = (self.cache.clone(), self.updates.names());
        let run = self.recovery.begin_run(false, self.updates.plans());
        let Some(mut executor) = self.take_executor(names, requester) else { return };
        self.tasks.act(async move {
            let prepared = executor
                .prepare_rollback((&name, by), cache, circumstances, (run, &in_flight))
                .await;
            TaskResult::ExecutorDone(executor, TaskOutcome::RollbackPrepared(Box::new(prepared)))
        });
    }

    /// Takes the executor for work of a round that belongs to no container.
    pub(in crate::agent) fn take_executor_for(&mut self, id: RoundId) -> Option<Box<Executor<P>>> {
        self.take_executor(BTreeSet::new(), Requester::Round(id))
    }

    fn take_executor(
        &mut self,
        names: BTreeSet<String>,
        requester: Requester,
    ) -> Option<Box<Executor<P>>> {
        let mut executor = self.executor.take()?;
        let mut trigger = Trigger::Recovery;
        match &requester {
            Requester::Nobody => {}
            Requester::Round(id) => {
                if let Some(round) = self.rounds.get_mut(id) {
                    round.acting += 1;
                    trigger = round.order.trigger;
                }
            }
            Requester::RollBack(asked, _)
            | Requester::Push(asked, _)
            | Requester::Recover(asked, _) => trigger = *asked,
        }
        executor.context = self.context.for_trigger(trigger);
        self.work = Some(RunningTask { names, is_recovering: false, requester });
        Some(executor)
    }
}
