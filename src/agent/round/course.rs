//! The course of a round: it begins, looks, asks registries, and decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::facts::{LookFacts, Names};
use super::{DueContainer, QueuedRound, Round, RoundId, Stage};
use crate::agent::tasks::{LookResult, TaskResult};
use crate::agent::{Agent, RoundError, RoundRequest};
use crate::core::decide::memory::{Memory, Refusal};
use crate::core::decide::observation::Observation;
use crate::core::decide::reason::Reason;
use crate::core::decide::report::Report;
use crate::core::decide::{Circumstances, Decision, origin};
use crate::core::policy::hooks::Moment;
use crate::engine::Listed;
use crate::journal::JournalError;
use crate::observe::{self, WatchedService};
use crate::ports::Ports;
use crate::recover;
use crate::registry::Registry;

impl<P: Ports> Agent<P> {
    /// Begins a round. `list` is the Engine's list of containers if the caller has just read it.
    ///
    /// Open updates are recovered first. If the Engine is away and the recovery waits for it, the
    /// round waits as well.
    pub(in crate::agent) async fn begin(
        &mut self,
        mut order: QueuedRound,
        list: Option<Vec<Listed>>,
    ) {
        let busy = self.busy_names();
        match self.find_out(&order, list).await {
            Ok((facts, services)) => self.enter(order, (facts, services), &busy),
            Err(RoundError::Engine(error))
                if error.is_engine_unreachable() && self.is_recovering() && !order.has_waited =>
            {
                order.has_waited = true;
                self.postponed.push(order);
            }
            Err(error) => self.could_not_run(order, error),
        }
    }

    /// Collects the input of a round. Starts the recovery of open updates if there are any.
    async fn find_out(
        &mut self,
        order: &QueuedRound,
        list: Option<Vec<Listed>>,
    ) -> Result<(LookFacts, Vec<WatchedService>), RoundError> {
        let open = self.open_updates().await?;
        let other = self.other_engine_holder(&order.request).await;
        let may_settle = !order.request.dry_run && !matches!(other, Ok(Some(_)));
        if may_settle {
            self.sweep_pushes().await;
        }
        let at_work = self.names_at_work();
        let left_open: BTreeSet<_> =
            open.keys().filter(|name| !at_work.contains(*name)).cloned().collect();
        if may_settle && !left_open.is_empty() {
            self.recover_open(left_open.clone());
        }
        other?;
        let list = list.filter(|_| left_open.is_empty());
        let names = Names::of(&order.request);
        let facts = self.facts(names, &order.request, list).await?;
        let services = self.follow_services().await;
        if may_settle {
            self.take_up_services();
        }
        self.check_names(&order.request, &facts.list, &facts.open)?;
        let mut left = recover::left_behind(&facts.list, &open);
        // An update may have begun after the journals were read, or ended after the list was read.
        let in_flight = self.updates.names();
        left.retain(|name| !in_flight.contains(name));
        if may_settle && !left.is_empty() {
            self.recover_open(left);
        }
        Ok((facts, services))
    }

    /// Enters a round. A scheduled round skips containers that another round is already checking.
    /// Any round looks at a container in an update or a recovery only after that has ended.
    fn enter(
        &mut self,
        order: QueuedRound,
        (mut facts, services): (LookFacts, Vec<WatchedService>),
        busy: &BTreeSet<String>,
    ) {
        let defaults = &self.context.settings.defaults;
        let watched = observe::watched_names(&facts.list, defaults, &self.cache);
        self.forget_removed(&watched);
        if !self.is_recovering() && self.other_agent.is_none() {
            self.publish(|snapshot| snapshot.is_ready = true);
        }
        let is_due = order.is_due();
        let ignored_labels = self.list_ignored_labels(&order.request, &facts.list, &watched);
        let mut round = Round::new(order, facts.circumstances.now);
        round.end.ignored_labels = ignored_labels;
        let mut meant: BTreeSet<_> = watched
            .union(&self.names_at_work())
            .filter(|name| facts.names.contains(name))
            .cloned()
            .collect();
        if is_due {
            let (skipped, rest) = meant.into_iter().partition(|name| busy.contains(name));
            (round.skipped, meant) = (skipped, rest);
            if meant.is_empty() && !round.skipped.is_empty() && services.is_empty() {
                return;
            }
        }
        if !round.order.request.dry_run {
            round.waiting = meant.intersection(&self.names_at_work()).cloned().collect();
        }
        facts.names.except.extend(round.skipped.union(&round.waiting).cloned());
        let id = self.next_round;
        self.next_round += 1;
        self.rounds.insert(id, round);
        self.look_at_services(id, services, &facts);
        self.look(id, facts);
    }

    /// Runs the pre-check hooks, and then looks.
    fn look(&mut self, id: RoundId, mut facts: LookFacts) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let only_looks = round.order.request.dry_run || self.other_agent.is_some();
        if only_looks || !self.context.runs_hooks() {
            return self.observe_local(id, facts);
        }
        round.questions += 1;
        let (context, cache) = (self.context.clone(), Arc::clone(&self.cache));
        self.tasks.look(async move {
            let ran = context.run_hooks(Moment::PreCheck, &facts.names, cache).await;
            if let (true, Ok(list)) = (ran.unwrap_or(true), context.list().await) {
                facts.list = list;
            }
            TaskResult::HooksBefore(id, Box::new(facts))
        });
    }

    /// Asks the Engine about the containers of a look.
    pub(in crate::agent) fn observe_local(&mut self, id: RoundId, facts: LookFacts) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let defaults = &self.context.settings.defaults;
        let watched = observe::watched_names(&facts.list, defaults, &self.cache);
        round.asked.extend(watched.into_iter().filter(|name| facts.names.contains(name)));
        round.questions += 1;
        round.open.clone_from(&facts.open);
        let (context, mut cache) = (self.context.clone(), Arc::clone(&self.cache));
        let facts = Arc::new(facts);
        self.tasks.look(async move {
            let scope = facts.scope(&context.settings.defaults);
            let observations = observe::observe_local(&*context.ports, &mut cache, &scope).await;
            TaskResult::ObservedLocally(LookResult { round: id, facts, observations, cache })
        });
    }

    /// Looks at these containers once more, from the present state.
    pub(in crate::agent) async fn look_again(&mut self, id: RoundId, names: BTreeSet<String>) {
        let Some(round) = self.rounds.get(&id) else { return };
        // After an update the containers are reported as a scheduled round would see them.
        let request = match round.stage {
            Stage::Looking => round.order.request.clone(),
            _ => RoundRequest::default(),
        };
        match self.facts(Names::only(names.clone()), &request, None).await {
            Ok(facts) => self.observe_local(id, facts),
            Err(error) => self.could_not_look_again(id, &names, &error),
        }
    }

    /// The state of these containers is not known any more: reports an error for them only.
    fn could_not_look_again(&mut self, id: RoundId, names: &BTreeSet<String>, error: &RoundError) {
        let Some(mut round) = self.rounds.remove(&id) else { return };
        let detail = format!("it could not be looked at again: {error}");
        let is_meant = |report: &&Report| names.contains(&report.subject.name);
        let earlier = Arc::clone(&self.snapshot.borrow());
        let reports = earlier.reports.iter().filter(is_meant);
        let reports: Vec<_> =
            reports.map(|report| report.with_no(Reason::EngineError, &detail)).collect();
        self.context.warn(format!("cannot look at containers again: {error}"));
        self.show(&mut round, &reports);
        self.rounds.insert(id, round);
    }

    /// Handles the message of a task, and continues.
    pub(in crate::agent) async fn receive(&mut self, message: TaskResult<P>) {
        match message {
            TaskResult::HooksBefore(id, facts) => {
                self.is_answered(id);
                self.observe_local(id, *facts);
            }
            TaskResult::ObservedLocally(look) => self.ask_registries(look),
            TaskResult::Decided(look, decisions) => self.decided(look, decisions),
            TaskResult::GroupSurveyed(id, survey) => self.group_surveyed(id, *survey),
            TaskResult::GroupSettled(id, names) => self.group_settled(id, names).await,
            TaskResult::HooksAfter(id) => self.is_answered(id),
            TaskResult::ExecutorDone(executor, done) => self.executor_done(executor, done).await,
            TaskResult::UpdateEnded(id, result) => self.update_ended(id, result).await,
            TaskResult::ServicesObserved(look) => self.services_observed(look),
            TaskResult::Deployment(result) => self.deployment_done(result).await,
            TaskResult::ServiceEnded(name, waiting, result) => {
                self.service_ended(name, waiting, result).await;
            }
        }
        self.advance().await;
    }

    pub(in crate::agent) fn is_answered(&mut self, id: RoundId) {
        if let Some(round) = self.rounds.get_mut(&id) {
            round.questions = round.questions.saturating_sub(1);
        }
    }

    /// Asks the registries what is still missing, each registry in its own task.
    fn ask_registries(&mut self, look: LookResult) {
        let LookResult { round: id, facts, observations, cache } = look;
        self.cache.merge(cache);
        self.is_answered(id);
        let Some(round) = self.rounds.get_mut(&id) else { return };
        let seen: BTreeSet<_> = observations.iter().map(|seen| seen.name.as_str()).collect();
        // No answer comes for a container that has just been removed.
        round.asked.retain(|name| seen.contains(name.as_str()) || !facts.names.contains(name));
        let groups = observe::by_registry(observations, &facts.circumstances);
        for (registry, mut observations) in groups {
            let facts = Arc::clone(&facts);
            let (context, mut cache) = (self.context.clone(), Arc::clone(&self.cache));
            self.tasks.look(async move {
                let scope = facts.scope(&context.settings.defaults);
                let asked = (&scope, registry.as_deref());
                let ports = &*context.ports;
                let decisions = observe::answer(ports, &mut cache, asked, &mut observations).await;
                let look = LookResult { round: id, facts, observations, cache };
                TaskResult::Decided(look, decisions)
            });
        }
    }

    /// Handles decisions. A member of a group waits for the decisions about the others.
    fn decided(&mut self, look: LookResult, decisions: Vec<Decision>) {
        let LookResult { round: id, facts, observations, cache } = look;
        self.cache.merge(cache);
        let Some(mut round) = self.rounds.remove(&id) else { return };
        let is_dry = round.order.request.dry_run;
        if !is_dry {
            self.remember_republished(&facts, (&observations, &decisions));
        }
        let mut alone = Vec::with_capacity(observations.len());
        for (observation, decision) in observations.into_iter().zip(decisions) {
            round.asked.remove(&observation.name);
            let decision = self.after_turn(&observation, decision, &facts.circumstances);
            let due = DueContainer { observation, facts: Arc::clone(&facts), decision };
            match facts.groups.group_of(&due.observation.name) {
                Some(group) => round.add_to_group(group, due),
                None => alone.push(due),
            }
        }
        self.take_decisions(&mut round, alone);
        self.decide_groups(id, &mut round);
        self.rounds.insert(id, round);
    }

    /// Reports decisions. Containers with an action then wait for the executor.
    pub(in crate::agent) fn take_decisions(
        &mut self,
        round: &mut Round,
        decided: Vec<DueContainer>,
    ) {
        let is_dry = round.order.request.dry_run;
        let mut reports = Vec::with_capacity(decided.len());
        for due in decided {
            reports.push(Report::of(&due.observation, &due.decision));
            if is_dry {
                round.outline(&due.decision);
                continue;
            }
            self.note_decision(&due.observation, &due.decision);
            if round.stage != Stage::Looking || self.is_ending() {
                continue;
            }
            match due.decision {
                Decision::Update(_) | Decision::Fetch(_) => round.due.push_back(due),
                Decision::HandOver(_) => round.own = Some(due),
                Decision::UpToDate | Decision::Republished(_) => {}
                Decision::Together(_) | Decision::No(_) => {}
            }
        }
        self.show(round, &reports);
    }

    /// Remembers a republished index, so that its manifest is fetched only once. If it cannot be
    /// written, the manifest is fetched again.
    fn remember_republished(&self, facts: &LookFacts, decided: (&[Observation], &[Decision])) {
        if let Err(error) = self.try_to_remember(facts, decided) {
            self.context.warn(format!("the results of this round cannot be remembered: {error}"));
        }
    }

    fn try_to_remember(
        &self,
        facts: &LookFacts,
        (observations, decisions): (&[Observation], &[Decision]),
    ) -> Result<(), JournalError> {
        let state = self.context.ports.state();
        let mut decided = decisions.iter().zip(observations);
        let may_have_news = decided.any(|(decision, seen)| may_be_news(decision, seen));
        let tls_hosts = self.context.ports.registry().tls_hosts();
        let has_new_host = tls_hosts.iter().any(|host| !facts.memory.tls_hosts.contains(host));
        if !may_have_news && !has_origin(observations, &facts.circumstances) && !has_new_host {
            return Ok(());
        }
        // The memory is read again, because an update that ended in the meantime may have written
        // it.
        let mut memory = state.memory()?;
        let mut is_news =
            observe::remember_origins(&mut memory, observations, &facts.circumstances);
        is_news |= memory.learn_tls(tls_hosts);
        for (decision, observation) in decisions.iter().zip(observations) {
            if let (Decision::Republished(digest), Ok(running)) = (decision, &observation.running) {
                is_news |= memory.learn(&running.image_id, digest);
            }
            is_news |= refuse_index(&mut memory, observation);
        }
        if !is_news {
            return Ok(());
        }
        memory.tidy(&facts.list.iter().map(|listed| listed.image_id.clone()).collect());
        state.remember(&memory)
    }
}

/// Whether a look has found out where an image came from.
fn has_origin(observations: &[Observation], circumstances: &Circumstances) -> bool {
    observations.iter().any(|seen| origin::news(seen, circumstances).is_some())
}

fn may_be_news(decision: &Decision, observation: &Observation) -> bool {
    matches!(decision, Decision::Republished(_)) || observation.refusal.is_some()
}

/// A bad image under a new index is recognised by its manifest. The index is remembered as well, so
/// that the next round need not fetch its manifest.
fn refuse_index(memory: &mut Memory, observation: &Observation) -> bool {
    let (Some(refusal), Some(index)) = (&observation.refusal, observation.offered.digest()) else {
        return false;
    };
    let mut again = Refusal::clone(refusal);
    again.digests.insert(index.clone());
    let subject = observation.subject();
    memory.refusal(&subject, index).is_none() && memory.refuse(&subject, again)
}
