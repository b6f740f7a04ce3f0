//! The containers that depend on another one: whether and how they are recreated with it.

use serde_json::Value;

use super::No;
use super::preconditions::{declared, probed};
use super::start_requirements;
use crate::core::decide::observation::{DependentFacts, Readiness};
use crate::core::decide::reason::Reason;
use crate::core::decide::update_lock::SeenLock;
use crate::core::docker::inspect;
use crate::core::policy::{Mode, Policy, Selection};
use crate::core::recreate::dependents::{self, Dependent};
use crate::core::recreate::{self, CannotRecreate, Original};
use crate::core::update::orphans;
use crate::core::update::plan::{Change, Member};

/// One container that is recreated together with the updated one.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    pub(super) tie: Dependent,
    pub(super) policy: &'a Policy,
    dependent: &'a DependentFacts,
}

/// All dependents of the container, in the order in which they are recreated. Each must be opted in
/// and replaceable; otherwise the update is held, and the detail names every obstacle. `--force`
/// does not override this: Pilotfish never touches a container that is not opted in.
pub(super) fn followers(readiness: &Readiness) -> Result<Vec<Follower<'_>>, No> {
    let dependents =
        dependents::dependents(&readiness.original, &readiness.others, &readiness.depends_on);
    let dependents =
        dependents.map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
    let mut followers = Vec::new();
    let mut obstacles = Vec::new();
    for tie in dependents {
        match fit(readiness.dependent_facts.get(&tie.id), &tie) {
            Ok((dependent, policy)) => followers.push(Follower { tie, policy, dependent }),
            Err(why) => {
                obstacles.push(format!("{} {}, and {why}", tie.name, describe(readiness, &tie)))
            }
        }
    }
    if !obstacles.is_empty() {
        return Err(No::new(Reason::HasDependents, obstacles.join("; ")));
    }
    for Follower { tie, dependent, .. } in &followers {
        let of = format!("{}: ", tie.name);
        declared(&of, &dependent.declared_files)?;
        probed(&of, dependent.probe.as_ref())?;
    }
    Ok(followers)
}

/// Whether the container and its dependents could be started again, as far as the agent can see.
/// `--force` does not override this, because the update would stop a container that then stays
/// down.
pub(super) fn can_be_started(readiness: &Readiness, followers: &[Follower<'_>]) -> Result<(), No> {
    start_requirements::met("", &readiness.start_needs)?;
    for Follower { tie, dependent, .. } in followers {
        start_requirements::met(&format!("{}: ", tie.name), &dependent.start_needs)?;
    }
    // Podman reports less about ties. It also starts a container that joins a container which is
    // gone.
    if !readiness.can_update {
        return Ok(());
    }
    let main = &readiness.original;
    start_requirements::joins("", main, &readiness.others)?;
    let all: Vec<&Value> = readiness.others.iter().map(AsRef::as_ref).chain([main]).collect();
    for follower in followers {
        let of = format!("{}: ", follower.tie.name);
        start_requirements::joins(&of, follower.original(), &all)?;
    }
    Ok(())
}

/// Names in the `depends-on` label. A container we may not touch is ignored: it neither joins nor
/// blocks the update.
#[must_use]
pub fn depends_on(container: &Value, selection: &Selection, is_self: bool) -> Vec<String> {
    match selection {
        Selection::Watched(policy)
            if policy.mode == Mode::Update && is_alive(container) && !is_self =>
        {
            policy.commands.depends_on.clone()
        }
        _ => Vec::new(),
    }
}

fn is_alive(container: &Value) -> bool {
    matches!(inspect::text(container, "/State/Status"), "running" | "restarting")
}

/// How the dependent depends on the other one: `shares its network`, or `shares the network of db`.
fn describe(readiness: &Readiness, tie: &Dependent) -> String {
    if tie.on == inspect::name(&readiness.original) {
        return tie.how.to_string();
    }
    tie.how.of(&tie.on)
}

/// Whether the dependent may be recreated. A container without facts is left alone.
fn fit<'a>(
    dependent: Option<&'a DependentFacts>,
    tie: &Dependent,
) -> Result<(&'a DependentFacts, &'a Policy), String> {
    let dependent = dependent.ok_or("the Engine gives no details about it")?;
    if orphans::service(&tie.name).is_some() {
        return Err("it belongs to an unfinished update".into());
    }
    if let Some(manager) = dependent.manager {
        return Err(manager.in_words().into());
    }
    let policy = match &dependent.selection {
        Selection::OptedOut => return Err("it is not opted in".into()),
        Selection::BadLabels(errors) => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Err(format!("its labels are wrong: {}", texts.join("; ")));
        }
        Selection::Watched(policy) => policy,
    };
    if policy.mode == Mode::Notify {
        return Err("it is only reported on (pilotfish.mode=notify)".into());
    }
    if dependent.open_update.is_some() {
        return Err("an update of it is not finished".into());
    }
    if dependent.is_self {
        return Err("the agent runs in it".into());
    }
    if !is_alive(&dependent.original) {
        return Err(format!("it is {}", inspect::text(&dependent.original, "/State/Status")));
    }
    Ok((dependent, policy))
}

impl Follower<'_> {
    /// The inspect document of the container that is replaced.
    pub(super) const fn original(&self) -> &Value {
        &self.dependent.original
    }

    /// What was seen of its lock.
    pub(super) const fn lock(&self) -> Option<&SeenLock> {
        self.dependent.lock.as_ref()
    }

    /// How the dependent is recreated, on the image that it already runs.
    pub(super) fn member(&self, readiness: &Readiness) -> Result<Member, No> {
        let DependentFacts { original, image, .. } = self.dependent;
        let facts = Original { container: original, image, api: readiness.api };
        member(&facts, self.policy, readiness.can_update)
            .map_err(|error| No::new(Reason::CannotRecreate, format!("{}: {error}", self.tie.name)))
    }
}

/// One member of a plan.
pub(super) fn member(
    facts: &Original<'_>,
    policy: &Policy,
    can_update: bool,
) -> Result<Member, CannotRecreate> {
    let original = facts.container;
    Ok(Member {
        container: inspect::name(original).to_owned(),
        old_container: inspect::id(original).to_owned(),
        image: inspect::image_as_written(original).to_owned(),
        change: Change::Keep,
        recreation: recreate::recreate(facts)?,
        restart_policy: recreate::changeable_restart_policy(original, can_update)?,
        health: policy.health.clone(),
        stop_timeout: inspect::stop_timeout(original),
        stop_signal: policy.commands.stop_signal.clone(),
        pre_update: policy.pre_update(),
        post_update: policy.post_update_of_watchtower(),
        hooks: policy.update_hooks(),
        lock: policy.update_lock(),
    })
}
