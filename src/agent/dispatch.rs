//! The loop and its hands: what they are given next, and what they bring back.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{AgentCommand, CommandReply};
use super::executor::{ContainerResult, Executor, TaskOutcome};
use super::round::{DueContainer, QueuedRound, Reply, ReplySender, RoundId};
use super::tasks::TaskResult;
use super::{Agent, RoundError, RoundRequest};
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Report;
use crate::core::decide::{Decision, decide};
use crate::ports::Ports;
use crate::recover::Recovered;

/// What the hands are at.
pub(super) struct RunningTask {
    /// The containers that they may touch.
    pub(super) names: BTreeSet<String>,
    /// Whether it is what was left open.
    is_settling: bool,
    whom: Requester,
}

/// For whom the hands work.
enum Requester {
    Nobody,
    Round(RoundId),
    Person(ReplySender),
}

impl<P: Ports> Agent<P> {
    /// The containers that the hands are at.
    pub(super) fn names_at_work(&self) -> BTreeSet<String> {
        self.work.as_ref().map(|work| work.names.clone()).unwrap_or_default()
    }

    /// The containers that are being updated, or that a round asks or waits for already. What was
    /// left open is looked at by the next round, as soon as the hands are done with it.
    pub(super) fn busy_names(&self) -> BTreeSet<String> {
        let mut busy = match self.is_settling() {
            true => BTreeSet::new(),
            false => self.names_at_work(),
        };
        for round in self.rounds.values() {
            busy.extend(round.asked.iter().chain(&round.waiting).cloned());
            busy.extend(round.due.iter().map(|due| due.observation.name.clone()));
        }
        busy
    }

    /// Whether the hands are at what was left open.
    pub(super) fn is_settling(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.is_settling)
    }

    /// Goes on wherever something can go on.
    pub(super) async fn advance(&mut self) {
        while self.use_executor().await || self.move_on().await || self.ask_what_was_pushed().await
        {
        }
    }

    /// A push came while its containers were asked or replaced: what it was about is asked now.
    async fn ask_what_was_pushed(&mut self) -> bool {
        let busy = self.busy_names();
        let free: BTreeSet<_> = self.again.difference(&busy).cloned().collect();
        if free.is_empty() || self.is_ending() {
            return false;
        }
        self.again.retain(|name| !free.contains(name));
        let request = RoundRequest { names: Some(free), ..RoundRequest::default() };
        self.begin(QueuedRound::new(request, Reply::Nobody), None).await;
        true
    }

    /// Gives the hands what is next: what a person waits for goes first. Says whether there was
    /// something.
    async fn use_executor(&mut self) -> bool {
        if self.executor.is_none() || self.is_ending() {
            return false;
        }
        if let Some((command, answer)) = self.commands.pop_front() {
            self.grant(command, answer);
            return true;
        }
        let has_due = self.rounds.iter().filter(|(_, round)| !round.due.is_empty());
        let Some(id) = has_due.min_by_key(|(id, round)| (round.order.is_due(), **id)) else {
            return false;
        };
        let id = *id.0;
        let Some(due) = self.rounds.get_mut(&id).and_then(|round| round.due.pop_front()) else {
            return false;
        };
        let name = &due.observation.name;
        match self.touched.get(name) {
            // What was seen of it is old: something was done with it since.
            Some(at) if *at > due.facts.deeds => {
                let names = BTreeSet::from([name.clone()]);
                self.look_again(id, names).await;
            }
            _ => self.act(id, due),
        }
        true
    }

    /// Carries out what was decided of a container.
    pub(super) fn act(&mut self, id: RoundId, due: DueContainer) {
        let DueContainer { observation, facts } = due;
        let is_old = facts.deeds != self.deeds;
        let decision = decide(&observation, &facts.circumstances);
        let names = names_of(&decision, &observation.name);
        if let Decision::Update(plan) = &decision {
            self.has_prefetched_images |= plan.has_pre_update_hooks();
            self.publish(|snapshot| snapshot.in_flight = Some(observation.name.clone()));
        }
        self.has_prefetched_images |= matches!(decision, Decision::Fetch(_));
        let Some(mut executor) = self.take_executor(names, Requester::Round(id)) else { return };
        let cache = self.cache.clone();
        self.tasks.act(async move {
            let acted = executor.act((&facts, &cache), observation, is_old).await;
            TaskResult::TaskOutcome(executor, TaskOutcome::ContainerResult(Box::new(acted)))
        });
    }

    /// Finishes or undoes what was left open.
    pub(super) fn recover_open(&mut self, names: BTreeSet<String>) {
        let Some(mut executor) = self.take_executor(names, Requester::Nobody) else { return };
        self.work.iter_mut().for_each(|work| work.is_settling = true);
        self.tasks.act(async move {
            let settled = executor.recover_open(false).await;
            TaskResult::TaskOutcome(executor, TaskOutcome::Settled(settled))
        });
    }

    /// A wish for which the hands are needed.
    fn grant(&mut self, command: AgentCommand, answer: ReplySender) {
        let names = match &command {
            AgentCommand::RollBack(name) => BTreeSet::from([name.clone()]),
            _ => self.open.keys().cloned().collect(),
        };
        let cache = self.cache.clone();
        let circumstances =
            self.circumstances(&RoundRequest { force: true, ..RoundRequest::default() });
        if let AgentCommand::RollBack(name) = &command {
            self.publish(|snapshot| snapshot.in_flight = Some(name.clone()));
        }
        let Some(mut executor) = self.take_executor(names, Requester::Person(answer)) else {
            return;
        };
        self.tasks.act(async move {
            let done = match command {
                AgentCommand::RollBack(name) => {
                    executor.roll_back(name, cache, circumstances).await
                }
                _ => executor.recover().await,
            };
            TaskResult::TaskOutcome(executor, done)
        });
    }

    /// The hands for what belongs to a round and to no container.
    pub(super) fn take_executor_for(&mut self, id: RoundId) -> Option<Box<Executor<P>>> {
        self.take_executor(BTreeSet::new(), Requester::Round(id))
    }

    fn take_executor(
        &mut self,
        names: BTreeSet<String>,
        whom: Requester,
    ) -> Option<Box<Executor<P>>> {
        let executor = self.executor.take()?;
        if let Requester::Round(id) = &whom
            && let Some(round) = self.rounds.get_mut(id)
        {
            round.is_acting = true;
        }
        self.work = Some(RunningTask { names, is_settling: false, whom });
        Some(executor)
    }

    /// The hands are free again.
    pub(super) async fn done(&mut self, executor: Box<Executor<P>>, done: TaskOutcome) {
        self.other_agent = executor.other_agent();
        self.executor = Some(executor);
        self.deeds += 1;
        if self.snapshot.borrow().in_flight.is_some() {
            self.publish(|snapshot| snapshot.in_flight = None);
        }
        let Some(RunningTask { names, whom, is_settling }) = self.work.take() else { return };
        let touched = names.into_iter().map(|name| (name, self.deeds));
        self.touched.extend(touched);
        if let Requester::Round(id) = &whom {
            self.rounds.entry(*id).and_modify(|round| round.is_acting = false);
        }
        if !matches!(done, TaskOutcome::Settled(_) | TaskOutcome::Recovered { .. }) {
            self.know_what_is_open(self.open_updates().await.unwrap_or_default());
        }
        match (done, whom) {
            (TaskOutcome::ContainerResult(acted), Requester::Round(id)) => self.acted(id, *acted),
            (TaskOutcome::Settled(settled), _) => self.settled(settled).await,
            (TaskOutcome::Dropped(are_left), _) => {
                self.has_prefetched_images = are_left.unwrap_or(self.has_prefetched_images);
            }
            (TaskOutcome::CommandReply(reply, names), Requester::Person(answer)) => {
                self.granted(reply, names, answer).await;
            }
            (TaskOutcome::Recovered { recovered, is_self_updating }, Requester::Person(answer)) => {
                self.is_self_updating |= is_self_updating;
                self.recovered(recovered, answer).await;
            }
            (
                TaskOutcome::ContainerResult(_)
                | TaskOutcome::CommandReply(..)
                | TaskOutcome::Recovered { .. },
                _,
            ) => {}
        }
        if is_settling {
            for order in std::mem::take(&mut self.postponed) {
                self.begin(order, None).await;
            }
        }
    }

    /// What came of one container is reported, and looked at once more at the end of its round.
    fn acted(&mut self, id: RoundId, acted: ContainerResult) {
        let ContainerResult { observation, decision, record, is_touched, is_self_updating } = acted;
        self.is_self_updating |= is_self_updating;
        self.pending.note(&observation, &decision);
        let Some(mut round) = self.rounds.remove(&id) else { return };
        round.end.records.extend(record);
        if is_touched {
            round.touched.extend(names_of(&decision, &observation.name));
        }
        if is_self_updating {
            round.end.self_updating = Some(observation.name.clone());
        }
        self.show(&mut round, &[Report::of(&observation, &decision)]);
        self.rounds.insert(id, round);
    }

    /// Shows what is left open where that changes, and keeps it for as long as the hands are away.
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

    /// What became of everything that had been left open, for a person.
    async fn recovered(&mut self, recovered: Recovered, answer: ReplySender) {
        let Recovered { records, open } = recovered;
        self.untouched.clear();
        self.know_what_is_open(open.clone());
        let ended = records.iter().map(|record| record.container.clone());
        let touched: BTreeSet<_> = ended.chain(open.keys().cloned()).collect();
        let open = open.into_keys().collect();
        self.look_before(CommandReply::Recovered { records, open }, touched, answer).await;
    }

    /// What had been left open is told to a round that waited for it.
    async fn settled(&mut self, settled: Result<Recovered, RoundError>) {
        let recovered = match settled {
            Ok(recovered) => recovered,
            // It was told who it is.
            Err(RoundError::AnotherAgent(_)) => return,
            Err(error) => {
                let detail = format!("recovery waits for the next round: {error}");
                return self.context.warn(detail);
            }
        };
        self.publish(|snapshot| snapshot.is_ready = true);
        self.untouched.clear();
        self.know_what_is_open(recovered.open);
        let names: BTreeSet<_> =
            recovered.records.iter().map(|record| record.container.clone()).collect();
        if let Some(round) = self.rounds.values_mut().find(|round| !round.waiting.is_empty()) {
            round.end.recovered.extend(recovered.records);
        } else if !names.is_empty() && self.snapshot.borrow().last_check.is_some() {
            // What was shown of them before is no longer true.
            let request =
                RoundRequest { names: Some(names), dry_run: true, ..RoundRequest::default() };
            self.begin(QueuedRound::new(request, Reply::Instead(None)), None).await;
        }
    }
}

/// The containers that carrying this out may touch.
fn names_of(decision: &Decision, name: &str) -> BTreeSet<String> {
    match decision {
        Decision::Update(plan) | Decision::HandOver(plan) => {
            plan.names().map(str::to_owned).collect()
        }
        _ => BTreeSet::from([name.to_owned()]),
    }
}
