//! Containers of a group are decided together: when all of them are decided, the group waits, or
//! one plan carries out the update of all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::facts::LookFacts;
use super::{DueContainer, Round, RoundId, Stage};
use crate::agent::Agent;
use crate::agent::context::Context;
use crate::agent::tasks::TaskResult;
use crate::core::decide::group::{GroupMember, add_documents, join, to_be_surveyed};
use crate::core::decide::reason::Reason;
use crate::core::decide::{Decision, No, Together};
use crate::core::group::readiness::{Decided, acts, waits};
use crate::core::group::settle::{OfferedDigests, SETTLE_DEFAULT};
use crate::core::time::duration::format_duration;
use crate::observe::{self, Cache, PreflightContext, TieIndex};
use crate::ports::Ports;

/// A group whose members are decided, with what its update needs of members without a new image.
pub(in crate::agent) struct GroupSurvey {
    group: String,
    members: Vec<DueContainer>,
}

impl Round {
    /// Adds a decided member of a group. A newer decision replaces an older one.
    pub(in crate::agent) fn add_to_group(&mut self, group: &str, due: DueContainer) {
        let members = self.grouped.entry(group.to_owned()).or_default();
        members.retain(|it| it.observation.name != due.observation.name);
        members.push(due);
    }

    /// Removes and returns a group of which no member waits for its registry's answer.
    fn take_complete_group(&mut self) -> Option<(String, Vec<DueContainer>)> {
        let is_complete = |members: &&Vec<DueContainer>| {
            let facts = members.first().map(|it| &it.facts);
            facts.is_none_or(|facts| {
                let group = facts.groups.group_of(&members[0].observation.name);
                let names = group.and_then(|group| facts.groups.members(group));
                names.is_none_or(|names| names.is_disjoint(&self.asked))
            })
        };
        let group = self.grouped.iter().find(|(_, members)| is_complete(members))?.0.clone();
        let mut members = self.grouped.remove(&group)?;
        members.sort_by(|a, b| a.observation.name.cmp(&b.observation.name));
        Some((group, members))
    }
}

impl<P: Ports> Agent<P> {
    /// Decides each group of a round whose members are all decided.
    pub(in crate::agent) fn decide_groups(&mut self, id: RoundId, round: &mut Round) {
        while let Some((group, members)) = round.take_complete_group() {
            // An earlier plan of this group is out of date.
            round.due.retain(|due| due.decision.group() != Some(&group));
            self.decide_group(id, round, group, members);
        }
    }

    fn decide_group(
        &mut self,
        id: RoundId,
        round: &mut Round,
        group: String,
        mut members: Vec<DueContainer>,
    ) {
        if !members.iter().any(|it| acts(&it.decision)) {
            return self.take_decisions(round, members);
        }
        let held = held(&group, &members).or_else(|| self.unsettled(&group, &members));
        if let Some(no) = held {
            self.await_settled(id, round, (&no, &members));
            hold(&mut members, &no);
            return self.take_decisions(round, members);
        }
        let missing = missing(&members);
        if missing.is_empty() {
            return self.join_group(round, &group, members);
        }
        round.questions += 1;
        let (context, cache) = (self.context.clone(), Arc::clone(&self.cache));
        self.tasks.look(async move {
            survey(&context, &cache, &missing, &mut members).await;
            TaskResult::GroupSurveyed(id, Box::new(GroupSurvey { group, members }))
        });
    }

    /// Handles what the update of a group needs.
    pub(in crate::agent) fn group_surveyed(&mut self, id: RoundId, survey: GroupSurvey) {
        self.is_answered(id);
        let Some(mut round) = self.rounds.remove(&id) else { return };
        self.join_group(&mut round, &survey.group, survey.members);
        self.rounds.insert(id, round);
    }

    /// Makes one plan for the whole group. The first member that changes carries it.
    fn join_group(&mut self, round: &mut Round, group: &str, mut members: Vec<DueContainer>) {
        let joined = {
            let views: Vec<_> = members.iter().map(view).collect();
            let facts = members.first().map(|it| Arc::clone(&it.facts));
            facts.map(|facts| join(group, &views, &facts.circumstances))
        };
        match joined {
            Some(Ok(plan)) => {
                let lead = members.iter().position(|it| acts(&it.decision)).unwrap_or_default();
                let lead_name = members[lead].observation.name.clone();
                let names: BTreeSet<String> = plan.names().map(str::to_owned).collect();
                let part = Together { group: group.to_owned(), lead: lead_name };
                let others = members.iter().enumerate().filter(|(number, _)| *number != lead);
                let documents: Vec<_> = others.map(|(_, it)| it.observation.clone()).collect();
                for it in members.iter_mut().filter(|it| names.contains(&it.observation.name)) {
                    it.decision = Decision::Together(Box::new(part.clone()));
                }
                members[lead].decision = Decision::Update(Box::new(plan));
                if let Some(readiness) = &mut members[lead].observation.readiness {
                    add_documents(readiness, documents);
                }
            }
            Some(Err(no)) => hold(&mut members, &no),
            None => {}
        }
        self.take_decisions(round, members);
    }

    /// Why the group waits for its digests to stand still. A person who names a member, or insists,
    /// does not wait.
    fn unsettled(&mut self, group: &str, members: &[DueContainer]) -> Option<No> {
        let facts = members.first().map(|it| Arc::clone(&it.facts))?;
        let offered = |it: &DueContainer| {
            let digest = it.observation.offered.digest()?;
            Some((it.observation.name.clone(), digest.clone()))
        };
        let offers: OfferedDigests = members.iter().filter_map(offered).collect();
        let of_member = |it: &DueContainer| it.observation.membership()?.settle;
        let settle = members.iter().filter_map(of_member).max().unwrap_or(SETTLE_DEFAULT);
        let now = self.created.elapsed();
        let rest = self.settle.remaining(group, offers, settle, now)?;
        if facts.circumstances.force || facts.circumstances.tries_at_once {
            return None;
        }
        // A part of a second is not worth a word.
        let rest =
            std::time::Duration::from_secs(rest.as_secs() + u64::from(rest.subsec_nanos() > 0));
        let detail = format!(
            "its offered digests must have stood still for {}, for {} more",
            format_duration(settle),
            format_duration(rest)
        );
        let opens = chrono::TimeDelta::from_std(rest).ok();
        let opens = opens.map(|rest| facts.circumstances.now + rest);
        Some(No { opens, ..No::new(Reason::GroupIncomplete, detail) })
    }

    /// A command without an agent waits in its round until the digests of a group have stood still:
    /// nobody would look again later.
    fn await_settled(
        &mut self,
        id: RoundId,
        round: &mut Round,
        (no, members): (&No, &[DueContainer]),
    ) {
        let is_waited_for = !self.context.is_resident
            && !round.order.request.dry_run
            && round.stage == Stage::Looking
            && held_by(members, &[]).is_none();
        let Some(opens) = no.opens.filter(|_| is_waited_for) else { return };
        let now = members.first().map(|it| it.facts.circumstances.now).unwrap_or(opens);
        let rest = (opens - now).to_std().unwrap_or_default();
        let names: BTreeSet<_> = members.iter().map(|it| it.observation.name.clone()).collect();
        let stop = self.context.stop.clone();
        round.questions += 1;
        self.tasks.look(async move {
            let _ = stop.run_until_cancelled(tokio::time::sleep(rest)).await;
            TaskResult::GroupSettled(id, names)
        });
    }

    /// Looks again at a group that a command without an agent waited for.
    pub(in crate::agent) async fn group_settled(&mut self, id: RoundId, names: BTreeSet<String>) {
        self.is_answered(id);
        if !self.is_ending() {
            self.look_again(id, names).await;
        }
    }
}

const fn view(due: &DueContainer) -> GroupMember<'_> {
    GroupMember { observation: &due.observation, decision: &due.decision }
}

/// Why the group waits for one of its members.
fn held(group: &str, members: &[DueContainer]) -> Option<No> {
    let facts = members.first().map(|it| &it.facts)?;
    let seen: BTreeSet<_> = members.iter().map(|it| it.observation.name.as_str()).collect();
    let all = facts.groups.members(group).into_iter().flatten();
    let unseen: Vec<_> = all.filter(|name| !seen.contains(name.as_str())).cloned().collect();
    held_by(members, &unseen)
}

fn held_by(members: &[DueContainer], unseen: &[String]) -> Option<No> {
    let decided: Vec<_> = members
        .iter()
        .map(|it| Decided { name: &it.observation.name, decision: &it.decision })
        .collect();
    waits(&decided, unseen)
}

/// The members that could be updated wait as well.
fn hold(members: &mut [DueContainer], no: &No) {
    for it in members.iter_mut().filter(|it| acts(&it.decision)) {
        it.decision = Decision::No(no.clone());
    }
}

/// The members of which the update needs more than their looks have found out.
fn missing(members: &[DueContainer]) -> BTreeSet<String> {
    let views: Vec<_> = members.iter().map(view).collect();
    let needed = to_be_surveyed(&views).into_iter();
    let lacks = |name: &String| {
        members.iter().any(|it| it.observation.name == *name && it.observation.readiness.is_none())
    };
    needed.filter(lacks).collect()
}

/// Finds out what an update of these members would meet.
async fn survey<P: Ports>(
    context: &Context<P>,
    cache: &Cache,
    names: &BTreeSet<String>,
    members: &mut [DueContainer],
) {
    let mut ties = TieIndex::default();
    for it in members.iter_mut().filter(|it| names.contains(&it.observation.name)) {
        let LookFacts { open, .. } = &*it.facts;
        let surroundings = PreflightContext { defaults: &context.settings.defaults, open };
        let known = (&mut ties, cache);
        let readiness =
            observe::readiness(&*context.ports, known, &surroundings, &it.observation).await;
        it.observation.readiness = readiness.map(Box::new);
    }
}
