//! What hangs on a container: whether it may be recreated together with it, and how.

use serde_json::Value;

use super::No;
use super::preconditions::{declared, probed};
use super::start_requirements;
use crate::core::decide::observation::{DependentFacts, Readiness};
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::policy::hooks::Moment;
use crate::core::policy::{Mode, Policy, Selection};
use crate::core::recreate::dependents::{self, Dependent};
use crate::core::recreate::{self, CannotRecreate, Original};
use crate::core::update::orphans;
use crate::core::update::plan::Member;

/// One container that is recreated with another one.
#[derive(Debug)]
pub(super) struct Follower<'a> {
    pub(super) tie: Dependent,
    pub(super) policy: &'a Policy,
    companion: &'a DependentFacts,
}

/// Everything that hangs on the container, in the order in which it is to be made again. Each must
/// be opted in and fit to be replaced; otherwise the update is held, and everything that is in its
/// way is named. No force overrides this: what is not opted in is never touched.
pub(super) fn followers(readiness: &Readiness) -> Result<Vec<Follower<'_>>, No> {
    let dependents =
        dependents::dependents(&readiness.original, &readiness.others, &readiness.depends_on);
    let dependents =
        dependents.map_err(|error| No::new(Reason::CannotRecreate, error.to_string()))?;
    let mut followers = Vec::new();
    let mut obstacles = Vec::new();
    for tie in dependents {
        match fit(readiness.companions.get(&tie.id), &tie) {
            Ok((companion, policy)) => followers.push(Follower { tie, policy, companion }),
            Err(why) => {
                obstacles.push(format!("{} {}, and {why}", tie.name, told(readiness, &tie)))
            }
        }
    }
    if !obstacles.is_empty() {
        return Err(No::new(Reason::HasDependents, obstacles.join("; ")));
    }
    for Follower { tie, companion, .. } in &followers {
        let of = format!("{}: ", tie.name);
        declared(&of, &companion.declared_files)?;
        probed(&of, companion.probe.as_ref())?;
    }
    Ok(followers)
}

/// Whether the container and everything that hangs on it could be started again, as far as it can
/// be seen. No force overrides this: the update would stop what then stays down.
pub(super) fn can_be_started(readiness: &Readiness, followers: &[Follower<'_>]) -> Result<(), No> {
    start_requirements::met("", &readiness.start_needs)?;
    for Follower { tie, companion, .. } in followers {
        start_requirements::met(&format!("{}: ", tie.name), &companion.start_needs)?;
    }
    // Podman tells less of ties, and starts what joins a container that is gone all the same.
    if !readiness.can_update {
        return Ok(());
    }
    let main = &readiness.original;
    start_requirements::joins("", main, &readiness.others)?;
    let everybody: Vec<&Value> = readiness.others.iter().map(AsRef::as_ref).chain([main]).collect();
    for follower in followers {
        let of = format!("{}: ", follower.tie.name);
        start_requirements::joins(&of, follower.original(), &everybody)?;
    }
    Ok(())
}

/// The names of the containers that this one asks by a label to be recreated with. Nothing of it
/// breaks where it is not, so one that is not to be touched asks for nothing, and holds nobody.
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

/// How it hangs on what: `shares its network`, or `shares the network of db`.
fn told(readiness: &Readiness, tie: &Dependent) -> String {
    if tie.on == inspect::name(&readiness.original) {
        return tie.how.to_string();
    }
    tie.how.of(&tie.on)
}

/// Whether it may be recreated. What nothing is known of is left alone.
fn fit<'a>(
    companion: Option<&'a DependentFacts>,
    tie: &Dependent,
) -> Result<(&'a DependentFacts, &'a Policy), String> {
    let companion = companion.ok_or("the Engine does not tell more of it")?;
    if orphans::service(&tie.name).is_some() {
        return Err("it belongs to an update that is not over".into());
    }
    if let Some(manager) = companion.manager {
        return Err(manager.in_words().into());
    }
    let policy = match &companion.selection {
        Selection::OptedOut => return Err("it is not opted in".into()),
        Selection::BadLabels(errors) => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Err(format!("its labels are wrong: {}", texts.join("; ")));
        }
        Selection::Watched(policy) => policy,
    };
    if policy.mode == Mode::Notify {
        return Err("news of it are only to be told (pilotfish.mode=notify)".into());
    }
    if companion.open_update.is_some() {
        return Err("an update of it is not over".into());
    }
    if companion.is_self {
        return Err("the agent runs in it".into());
    }
    if !is_alive(&companion.original) {
        return Err(format!("it is {}", inspect::text(&companion.original, "/State/Status")));
    }
    Ok((companion, policy))
}

impl Follower<'_> {
    /// The inspect document of what is replaced.
    pub(super) const fn original(&self) -> &Value {
        &self.companion.original
    }

    /// How it is recreated, on the image that it runs on.
    pub(super) fn member(&self, readiness: &Readiness) -> Result<Member, No> {
        let DependentFacts { original, image, .. } = self.companion;
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
        recreation: recreate::recreate(facts)?,
        restart_policy: recreate::changeable_restart_policy(original, can_update)?,
        health: policy.health.clone(),
        stop_timeout: inspect::stop_timeout(original),
        stop_signal: policy.commands.stop_signal.clone(),
        pre_update: policy.commands.hooks.at(Moment::PreUpdate),
        post_update: policy.commands.hooks.at(Moment::PostUpdate),
    })
}
