//! The stages of a round: what it does when it waits for nothing in a stage, until it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::facts::Names;
use super::{Reply, Round, RoundId, Stage};
use crate::agent::Agent;
use crate::agent::execution::executor::TaskOutcome;
use crate::agent::tasks::TaskResult;
use crate::core::decide::observation::OpenUpdate;
use crate::core::decide::report::Report;
use crate::core::policy::hooks::Moment;
use crate::core::subject::Subject;
use crate::ports::Ports;
use crate::registry::Registry;

impl<P: Ports> Agent<P> {
    /// Moves one round on that waits for nothing. Returns whether there was one.
    pub(in crate::agent) async fn move_on(&mut self) -> bool {
        let at_work = self.names_at_work();
        let is_free = |name: &String| !at_work.contains(name);
        let has_free = |(id, round): (&RoundId, &Round)| {
            let free: BTreeSet<_> =
                round.waiting.iter().filter(|it| is_free(it)).cloned().collect();
            (!free.is_empty()).then_some((*id, free))
        };
        if let Some((id, free)) = self.rounds.iter().find_map(has_free) {
            self.rounds.entry(id).and_modify(|round| round.waiting.retain(|it| !free.contains(it)));
            self.look_again(id, free).await;
            return true;
        }
        let at_rest: Vec<_> =
            self.rounds.iter().filter(|(_, round)| round.is_at_rest()).map(|(id, _)| *id).collect();
        for id in at_rest {
            if self.next_stage(id).await {
                return true;
            }
        }
        false
    }

    /// Moves a round to its next stage. Returns whether it could.
    async fn next_stage(&mut self, id: RoundId) -> bool {
        let is_ending = self.is_ending();
        let Some(round) = self.rounds.get_mut(&id) else { return false };
        let is_dry = round.order.request.dry_run;
        match round.stage {
            Stage::Looking => {
                round.stage = Stage::Reporting;
                let touched = round.touched.clone();
                if !touched.is_empty() && !is_ending {
                    self.look_again(id, touched).await;
                }
            }
            // The agent's own container comes last, when nothing else is in flight.
            Stage::Reporting
                if round.own.is_some() && (self.executor.is_none() || !self.updates.is_empty()) =>
            {
                return false;
            }
            Stage::Reporting => {
                round.stage = Stage::HandingOver;
                if let Some(due) = round.own.take() {
                    self.prepare(id, due);
                }
            }
            Stage::HandingOver => {
                round.stage = Stage::Dropping;
                if !is_dry && !is_ending && self.has_prefetched_images {
                    self.drop_superseded(id).await;
                }
            }
            Stage::Dropping => {
                round.stage = Stage::Hooks;
                if !is_dry && !is_ending && self.context.runs_hooks() {
                    self.run_hooks_behind(id);
                }
            }
            Stage::Hooks => self.finish(id),
        }
        true
    }

    /// Drops images that were pulled before their window and are not needed any more. If the
    /// executor is busy, a later round does it.
    async fn drop_superseded(&mut self, id: RoundId) {
        if self.executor.is_none() {
            return;
        }
        let Ok(mut owners) = self.watched().await else { return };
        self.pending.retain(&owners);
        owners.extend(self.open.keys().cloned().chain(self.updates.names()));
        let pending = self.pending.clone();
        let Some(executor) = self.take_executor_for(id) else { return };
        self.tasks.act(async move {
            let dropped = executor.drop_superseded(&pending, &owners).await;
            TaskResult::ExecutorDone(executor, TaskOutcome::Dropped(dropped))
        });
    }

    fn run_hooks_behind(&mut self, id: RoundId) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        round.questions += 1;
        let (context, names) = (self.context.clone(), Names::of(&round.order.request));
        let cache = Arc::clone(&self.cache);
        self.tasks.look(async move {
            // If the Engine is away by now, the next round reports it.
            let _ = context.run_hooks(Moment::PostCheck, &names, cache).await;
            TaskResult::HooksAfter(id)
        });
    }

    /// Ends a round: reports its result.
    fn finish(&mut self, id: RoundId) {
        let Some(mut round) = self.rounds.remove(&id) else { return };
        self.report_missing(&mut round);
        round.end.reports.sort_by(|a, b| a.subject.cmp(&b.subject));
        round.end.outlines.sort_by(|a, b| a.subject.cmp(&b.subject));
        round.end.service_outlines.sort_by(|a, b| a.subject.cmp(&b.subject));
        round.end.quotas = self.context.ports.registry().quotas();
        self.show_refused();
        if round.order.request.names.is_none() {
            self.follow_in_fleet();
        }
        self.keep_fleet();
        if !matches!(round.order.reply, Reply::After(_)) {
            self.tell(&round);
        }
        round.order.reply.send(Ok(round.end));
    }

    /// Reports services of a round that an update has left without a container of their name: they
    /// are not in the Engine's list.
    fn report_missing(&self, round: &mut Round) {
        let names = Names::of(&round.order.request);
        let is_broken =
            |open: &OpenUpdate| matches!(open, OpenUpdate::Stuck(_) | OpenUpdate::Down(_));
        let is_reported = |name: &String| {
            round.end.reports.iter().any(|report| report.subject.is_container(name))
        };
        let missing = round
            .open
            .iter()
            .filter(|(name, open)| is_broken(open) && names.contains(name) && !is_reported(name));
        let missing: BTreeMap<_, _> = missing.collect();
        if missing.is_empty() {
            return;
        }
        let mut reports = Vec::new();
        for journal in self.context.ports.state().open_journals().unwrap_or_default() {
            let plan = &journal.header.plan;
            for member in &plan.members {
                let open = missing.get(&member.container);
                let report = |open| {
                    let subject = Subject::container(&member.container);
                    Report::of_missing(subject, &member.image, open)
                };
                reports.extend(open.map(|open| report(open)));
            }
        }
        self.show(round, &reports);
    }
}
