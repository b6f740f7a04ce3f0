//! The members of a group that an update does not replace, and that have their say: a hook that
//! runs before it, a lock that holds it.

use super::group::GroupMember;
use super::update_lock::unlocked;
use super::{Circumstances, No};
use crate::core::decide::reason::Reason;
use crate::core::policy::Policy;
use crate::core::update::plan::{Guard, Plan};

/// The names of running members that may guard an update. A lock in them must be looked at.
pub(super) fn locked<'a>(members: &'a [GroupMember<'a>]) -> impl Iterator<Item = &'a str> {
    let has_lock =
        |it: &&GroupMember<'a>| policy(it).is_some_and(|policy| policy.update_lock().is_some());
    members.iter().filter(|it| may_guard(it)).filter(has_lock).map(GroupMember::name)
}

/// The guards of a plan, in the order of their names.
///
/// # Errors
/// A lock in one of them holds the update.
pub(super) fn of_plan(
    plan: &Plan,
    members: &[GroupMember<'_>],
    circumstances: &Circumstances,
) -> Result<Vec<Guard>, No> {
    let is_outside = |it: &&GroupMember<'_>| plan.all().all(|part| part.container != it.name());
    let mut guards = Vec::new();
    for it in members.iter().filter(|it| may_guard(it)).filter(is_outside) {
        let Some(policy) = policy(it) else { continue };
        let guard = Guard {
            container: it.name().to_owned(),
            id: it.observation.id.clone(),
            pre_update: policy.pre_update(),
            lock: policy.update_lock(),
        };
        if guard.lock.is_some() {
            check_unlocked(it, circumstances)?;
        }
        if guard.pre_update.is_some() || guard.lock.is_some() {
            guards.push(guard);
        }
    }
    guards.sort_by(|a, b| a.container.cmp(&b.container));
    Ok(guards)
}

fn check_unlocked(member: &GroupMember<'_>, circumstances: &Circumstances) -> Result<(), No> {
    let name = member.name();
    let Some(readiness) = &member.observation.readiness else {
        let detail = format!("{name}: the container could not be looked at");
        return Err(No::new(Reason::EngineError, detail));
    };
    unlocked(readiness, &[], circumstances)
        .map_err(|no| No { detail: format!("{name}: {}", no.detail), ..no })
}

/// Whether it serves: a hook needs a container that runs.
fn may_guard(member: &GroupMember<'_>) -> bool {
    member.observation.state == "running" && !member.observation.is_job
}

fn policy<'a>(member: &GroupMember<'a>) -> Option<&'a Policy> {
    member.observation.policy.as_ref().ok()
}
