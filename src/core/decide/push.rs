//! Decides about an image that a client pushed, and about containers whose images are pushed.
//!
//! A push is an explicit order, like a rollback by hand. Windows and refusals hold unless the
//! client insists, safety always.

use super::dependents::{can_be_started, followers};
use super::eligibility::eligible;
use super::planning::Planning;
use super::preconditions::safe;
use super::update_lock::unlocked;
use super::windows::{Timing, timing};
use super::{Circumstances, No, alone};
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::offer::Offer;
use crate::core::decide::reason::Reason;
use crate::core::deployment::{Definition, Deployment};
use crate::core::docker::inspect;
use crate::core::policy::own_hooks::UpdateHooks;
use crate::core::policy::own_labels::Labels;
use crate::core::policy::{LABEL_DEPLOYMENT, Policy, PolicyDefaults, Selection};
use crate::core::text::shown;
use crate::core::update::plan::{Change, ImageSource, Plan};

/// An image that a client pushed for a container.
#[derive(Debug, Clone, Copy)]
pub struct PushedImage<'a> {
    pub deployment: &'a Deployment,
    pub offer: &'a Offer,
    /// The client.
    pub by: &'a str,
}

/// Checks that a container follows a registry. The images of a deployment are pushed: a registry is
/// asked only for a container that would be watched without the deployment, and only until the
/// first push.
pub(super) fn followed(observation: &Observation) -> Result<(), No> {
    let Some(deployment) = &observation.deployment else { return Ok(()) };
    match &deployment.pushed {
        Some(pushed) => {
            let at = pushed.at.format("%Y-%m-%d %H:%M UTC");
            let detail = format!("pushed by {} at {at}", pushed.by);
            Err(No::new(Reason::PushedOnly, detail))
        }
        None if deployment.is_watched_anyway => Ok(()),
        None => {
            let detail = format!("no image was pushed yet for deployment {}", deployment.name);
            Err(No::new(Reason::PushedOnly, detail))
        }
    }
}

/// Whether a container was created from another definition than the configured one.
#[must_use]
pub fn has_new_definition(definition: Option<&Definition>, labels: &Labels) -> bool {
    definition.is_some_and(|it| labels.get(LABEL_DEPLOYMENT) != Some(&it.hash()))
}

/// The plan for a pushed image; nothing if the container runs it already, as the configuration
/// defines it.
///
/// # Errors
/// The "no" that forbids it.
pub fn push(
    observation: &Observation,
    readiness: &Readiness,
    pushed: &PushedImage<'_>,
    (circumstances, defaults): (&Circumstances, &PolicyDefaults),
) -> Result<Option<Plan>, No> {
    let definition = pushed.deployment.definition.as_ref();
    let is_redefined = has_new_definition(definition, &inspect::labels(&readiness.original));
    let running = observation.running.as_ref().ok();
    let is_running = running.is_some_and(|running| running.is(pushed.offer));
    let is_same = is_running && !is_redefined;
    let plan = match may_push(observation, readiness, pushed, (circumstances, defaults)) {
        // They are about a replacement, and nothing is replaced.
        Err(no) if is_same && is_about_order(no.reason) => return Ok(None),
        plan => plan?,
    };
    if is_same {
        return Ok(None);
    }
    let refusal = observation.refusal.as_ref().filter(|_| !is_running && !circumstances.force);
    match refusal {
        Some(refusal) => Err(No::new(Reason::RefusedDigest, refusal.detail.clone())),
        None => Ok(Some(plan)),
    }
}

/// Whether a container with this reason cannot be replaced alone, or not in its order.
const fn is_about_order(reason: Reason) -> bool {
    matches!(reason, Reason::MemberOfGroup | Reason::CannotStartFirst)
}

/// The same without a look at the image itself: what forbids a push is known before a byte of it
/// arrives.
///
/// # Errors
/// The "no" that forbids it.
pub fn may_push(
    observation: &Observation,
    readiness: &Readiness,
    pushed: &PushedImage<'_>,
    (circumstances, defaults): (&Circumstances, &PolicyDefaults),
) -> Result<Plan, No> {
    alone(circumstances)?;
    let eligible = eligible(observation)?;
    if observation.is_self {
        let detail = "the agent runs in this container, and its image cannot be pushed";
        return Err(No::new(Reason::CannotHandOver, detail));
    }
    let followers = followers(readiness)?;
    unlocked(readiness, &followers, circumstances)?;
    alone_in_its_plan(eligible.policy)?;
    safe(readiness, pushed.offer)?;
    let definition = pushed.deployment.definition.as_ref();
    let is_redefined = has_new_definition(definition, &inspect::labels(&readiness.original));
    let planning = Planning::of(observation, &eligible, readiness, &followers);
    let planning = Planning { keeps_definition: !is_redefined, ..planning };
    let mut plan = planning.plan((ImageSource::Pushed, pushed.offer), circumstances)?;
    plan.by = Some(pushed.by.to_owned());
    if is_redefined {
        redefine(&mut plan, definition, readiness, defaults)?;
    }
    can_be_started(readiness, &followers)?;
    match timing(eligible.policy, &followers, readiness, circumstances) {
        Timing::Now => Ok(plan),
        Timing::Later(no) | Timing::FetchNow(no) => Err(no),
    }
}

/// Checks that a container may be updated without others. The members of a group act as one.
fn alone_in_its_plan(policy: &Policy) -> Result<(), No> {
    let Some(membership) = policy.membership() else { return Ok(()) };
    let detail = format!(
        "it is a member of group {}, whose members are updated together; a push changes one \
         container",
        shown(&membership.group)
    );
    Err(No::new(Reason::MemberOfGroup, detail))
}

/// Lets the new container be created from the definition, and judged by its labels.
fn redefine(
    plan: &mut Plan,
    definition: Option<&Definition>,
    readiness: &Readiness,
    defaults: &PolicyDefaults,
) -> Result<(), No> {
    let Some(definition) = definition else { return Ok(()) };
    let policy = policy(definition, defaults)?;
    let Some(main) = plan.members.first_mut() else { return Ok(()) };
    main.recreation = definition.replacing(&main.recreation, readiness.api);
    main.restart_policy = definition.restart_policy();
    if !readiness.can_update && !main.restart_policy.is_no() {
        let detail = "this Engine cannot change a restart policy, and the definition has one";
        return Err(No::new(Reason::CannotRecreate, detail));
    }
    main.image.clone_from(&definition.image);
    main.hooks = UpdateHooks { pre_stop: main.hooks.pre_stop.take(), ..policy.update_hooks() };
    main.post_update = policy.post_update_of_watchtower();
    main.health = policy.health;
    if let Change::To(update) = &mut main.change {
        update.reference = definition.reference.clone();
        update.images_keep = policy.images_keep;
    }
    Ok(())
}

/// How the container of a definition is treated, by its labels.
///
/// # Errors
/// A label is wrong, or asks to leave the container alone.
pub fn policy(definition: &Definition, defaults: &PolicyDefaults) -> Result<Policy, No> {
    let defaults = PolicyDefaults { opt_in: false, ..defaults.clone() };
    match Policy::from_labels(&definition.labels(), &defaults) {
        Selection::Watched(policy) => alone_in_its_plan(&policy).map(|()| policy),
        Selection::OptedOut => {
            let detail = "the definition has the label pilotfish.enable=false";
            Err(No::new(Reason::BadLabel, detail))
        }
        Selection::BadLabels(errors) => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Err(No::new(Reason::BadLabel, texts.join("; ")))
        }
    }
}
