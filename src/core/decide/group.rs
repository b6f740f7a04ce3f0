//! One plan for all members of a group that are updated together, and for the jobs that run before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::dependents::{can_be_started, followers};
use super::eligibility::eligible;
use super::group_guards;
use super::planning::Planning;
use super::preconditions::{declared, probed};
use super::update_lock::unlocked;
use super::windows::{Timing, timing};
use super::{Circumstances, Decision, No};
use crate::core::decide::observation::{DependentFacts, Observation, Readiness};
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::group::job;
use crate::core::group::order::{Node, start_order};
use crate::core::policy::Selection;
use crate::core::recreate::dependents::{anchors, means};
use crate::core::subject::Subject;
use crate::core::update::plan::{Change, Job, Member, Plan, Strategy};

/// A member of a group, with what is decided about it alone.
#[derive(Debug, Clone, Copy)]
pub struct GroupMember<'a> {
    pub observation: &'a Observation,
    pub decision: &'a Decision,
}

impl<'a> GroupMember<'a> {
    pub(super) fn name(&self) -> &'a str {
        &self.observation.name
    }

    fn node(&self) -> Node<'a> {
        let name = self.name();
        let none = Node { name, service: None, depends_on: &[] };
        self.observation.membership().map_or(none, |membership| Node::of(name, membership))
    }

    const fn plan(&self) -> Option<&'a Plan> {
        match self.decision {
            Decision::Update(plan) => Some(plan),
            _ => None,
        }
    }
}

/// The members without a new image of their own that the update needs all the same: jobs that run
/// for their dependents, and members that ask to be recreated with one that changes.
fn also_needed(members: &[GroupMember<'_>]) -> BTreeSet<String> {
    let nodes: Vec<_> = members.iter().map(GroupMember::node).collect();
    let changed: BTreeSet<_> =
        members.iter().filter(|it| it.plan().is_some()).map(GroupMember::name).collect();
    let services = |it: &&GroupMember<'_>| !it.observation.is_job;
    let mut recreated: BTreeSet<&str> = changed.clone();
    loop {
        let asks = |it: &&GroupMember<'_>| {
            let mut asked = it.node().depends_on.iter().filter(|on| on.restarts);
            asked.any(|on| {
                let meant = nodes.iter().filter(|node| node.is_meant_by(on));
                meant.clone().any(|node| recreated.contains(node.name) && node.name != it.name())
            })
        };
        let runs = |it: &&GroupMember<'_>| it.observation.state == "running";
        let more = members.iter().filter(services).filter(runs).filter(asks);
        let more: Vec<_> = more.map(GroupMember::name).collect();
        let before = recreated.len();
        recreated.extend(more);
        if recreated.len() == before {
            break;
        }
    }
    let jobs: Vec<_> =
        members.iter().filter(|it| it.observation.is_ended_job()).map(GroupMember::name).collect();
    let due = job::due(&jobs, &changed, &nodes);
    let all = recreated.into_iter().map(str::to_owned).chain(due);
    all.filter(|name| !changed.contains(name.as_str())).collect()
}

/// The members of which an update needs more than their looks have found out.
#[must_use]
pub fn to_be_surveyed(members: &[GroupMember<'_>]) -> BTreeSet<String> {
    let guards = group_guards::locked(members).map(str::to_owned);
    also_needed(members).into_iter().chain(guards).collect()
}

/// One plan for a group, from the plans of its members.
///
/// # Errors
/// Why the group waits: a member that it needs cannot be recreated, or members depend on each
/// other.
pub fn join(
    group: &str,
    members: &[GroupMember<'_>],
    circumstances: &Circumstances,
) -> Result<Plan, No> {
    let needed = also_needed(members);
    let mut parts: BTreeMap<String, Member> = BTreeMap::new();
    for it in members {
        let of_member = match it.plan() {
            Some(plan) => plan.members.clone(),
            None if needed.contains(it.name()) => kept(it.observation, circumstances)
                .map_err(|no| No::group_waits_for(it.name(), &no))?,
            None => continue,
        };
        for part in of_member {
            let known = parts.get(&part.container);
            if known.is_none_or(|known| known.update().is_none()) {
                parts.insert(part.container.clone(), part);
            }
        }
    }
    let parts: Vec<_> = parts.into_values().collect();
    let nodes: Vec<_> = parts.iter().map(|part| node_of(part, members)).collect();
    let documents: Vec<_> =
        parts.iter().map(|part| document(&part.old_container, members)).collect();
    let order = start_order(&nodes, &ties(&parts, &documents))
        .map_err(|circle| No::new(Reason::GroupIncomplete, circle.to_string()))?;
    let mut plan = Plan {
        id: Plan::make_id(group, circumstances.now),
        subject: Subject::group(group),
        by: None,
        members: Vec::new(),
        jobs: Vec::new(),
        data: None,
        guards: Vec::new(),
        strategy: Strategy::StopFirst,
    };
    for part in order.into_iter().map(|number| parts[number].clone()) {
        match members.iter().find(|it| it.observation.is_job && it.name() == part.container) {
            Some(it) => {
                check_untied(&part, document(&part.old_container, members))?;
                plan.jobs.push(as_job(part, it.observation)?);
            }
            None => plan.members.push(part),
        }
    }
    plan.guards = group_guards::of_plan(&plan, members, circumstances)?;
    Ok(plan)
}

/// A member that keeps its image, with its dependents.
fn kept(observation: &Observation, circumstances: &Circumstances) -> Result<Vec<Member>, No> {
    let eligible = eligible(observation)?;
    let Some(readiness) = &observation.readiness else {
        return Err(No::new(Reason::EngineError, "the container could not be looked at"));
    };
    let followers = followers(readiness)?;
    declared("", &readiness.declared_files)?;
    probed("", readiness.probe.as_ref())?;
    let planning = Planning::of(observation, &eligible, readiness, &followers);
    let members = planning.members(Change::Keep, circumstances)?;
    can_be_started(readiness, &followers)?;
    let needs_no_pull = Readiness { is_pulled: true, ..(**readiness).clone() };
    match timing(eligible.policy, &followers, &needs_no_pull, circumstances) {
        Timing::Now => {}
        Timing::FetchNow(no) | Timing::Later(no) => return Err(no),
    }
    unlocked(readiness, &followers, circumstances)?;
    Ok(members)
}

/// The job of a plan. The Engine must not start its container by itself.
fn as_job(mut member: Member, observation: &Observation) -> Result<Job, No> {
    if !matches!(member.restart_policy.name.as_str(), "" | "no" | "on-failure") {
        let detail = format!(
            "{} is a job, and its restart policy is `{}`; a job has `no` or `on-failure`",
            member.container, member.restart_policy.name
        );
        return Err(No::new(Reason::GroupIncomplete, detail));
    }
    let Some(membership) = observation.membership() else {
        let detail = format!("{} is in no group any more", member.container);
        return Err(No::new(Reason::GroupIncomplete, detail));
    };
    // Hooks run in containers that serve.
    member.forget_hooks();
    Ok(Job { member, timeout: membership.job_timeout, meanwhile: membership.meanwhile })
}

/// The node of a part of the plan. A dependent outside of the group has only its ties.
fn node_of<'a>(part: &'a Member, members: &[GroupMember<'a>]) -> Node<'a> {
    let own = members.iter().find(|it| it.name() == part.container);
    let none = Node { name: &part.container, service: None, depends_on: &[] };
    own.map_or(none, GroupMember::node)
}

/// Why a job cannot run in a copy: it depends on a container that is replaced.
fn check_untied(member: &Member, document: Option<&Value>) -> Result<(), No> {
    let ties = document.and_then(|it| anchors(it).ok()).unwrap_or_default();
    let Some(tie) = ties.first() else { return Ok(()) };
    let detail = format!(
        "{} is a job and {}; a job must stand on its own",
        member.container,
        tie.how.of(&tie.container)
    );
    Err(No::new(Reason::GroupIncomplete, detail))
}

fn document<'a>(id: &str, members: &[GroupMember<'a>]) -> Option<&'a Value> {
    members.iter().filter_map(|it| it.observation.readiness.as_deref()).find_map(|readiness| {
        let own = Some(&readiness.original).filter(|own| inspect::id(own) == id);
        own.or_else(|| readiness.dependent_facts.get(id).map(|facts| &facts.original))
    })
}

/// Which part cannot exist without which other one.
fn ties(parts: &[Member], documents: &[Option<&Value>]) -> Vec<(usize, usize)> {
    let mut ties = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        // Documents that cannot be read were refused before.
        for anchor in document.and_then(|it| anchors(it).ok()).into_iter().flatten() {
            let is_meant =
                |part: &Member| means(&anchor.container, &part.old_container, &part.container);
            ties.extend(parts.iter().position(is_meant).map(|other| (number, other)));
        }
    }
    ties
}

/// Adds the documents of all members to those of the member that carries the plan.
pub fn add_documents(lead: &mut Readiness, others: impl IntoIterator<Item = Observation>) {
    for other in others {
        let Some(readiness) = other.readiness else { continue };
        let Readiness { original, image, dependent_facts, .. } = *readiness;
        lead.dependent_facts.extend(dependent_facts);
        let facts = DependentFacts {
            original,
            image,
            manager: other.manager,
            selection: other.policy.map_or_else(Selection::BadLabels, Selection::Watched),
            is_self: other.is_self,
            open_update: other.open_update,
            probe: None,
            lock: None,
            declared_files: Vec::new(),
            start_needs: Vec::new(),
        };
        lead.dependent_facts.insert(other.id, facts);
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
