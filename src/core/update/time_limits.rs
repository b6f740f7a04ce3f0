//! How long each step of an update may take as a whole. Every wait in a step has a limit of its
//! own; this limit covers repetitions, so that each update comes to an end.

use std::time::Duration;

use crate::core::policy::health_policy::IMAGE_HEALTHCHECK_MAX;
use crate::core::policy::hooks::Hook;
use crate::core::update::Step;
use crate::core::update::healthcheck::of_body;
use crate::core::update::plan::{Member, Plan};

/// Longest time for an SD card to flush a pulled image, or to prepare a container's files.
const DISK_MAX: Duration = Duration::from_secs(30 * 60);

/// Longest time for the Engine to stop, rename or start one container, in addition to the
/// container's own stop timeout.
const ENGINE_MAX: Duration = Duration::from_secs(5 * 60);

/// Extra time for a trial, because the Engine answers late on a busy machine.
const TRIAL_SLACK: Duration = Duration::from_secs(5 * 60);

/// How long a step of this plan may take; `None` if it must not be interrupted, or if its only wait
/// has its own limit (a pull, a job).
#[must_use]
pub fn limit(step: Step, plan: &Plan) -> Option<Duration> {
    let sum = |of: fn(&Member) -> Duration| {
        plan.members.iter().map(of).fold(Duration::ZERO, Duration::saturating_add)
    };
    if plan.members.is_empty() {
        // There are only jobs.
        return None;
    }
    match step {
        Step::Pull | Step::Run | Step::Commit | Step::Clean => None,
        Step::Sync => Some(DISK_MAX),
        Step::Create => Some(DISK_MAX.saturating_mul(count(plan.all_numbers().len()))),
        Step::Switch => Some(sum(|member| {
            let hook = timeout_of(member.hooks.pre_stop.as_ref());
            member.stop_timeout.saturating_add(ENGINE_MAX).saturating_add(hook)
        })),
        Step::Start | Step::Launch => Some(sum(|_| ENGINE_MAX)),
        Step::Prove => Some(sum(trial)),
        Step::Join => {
            let joined = sum(|member| trial(member).saturating_add(ENGINE_MAX));
            Some(plan.strategy.drain().saturating_add(joined))
        }
        // One trial for all, and one more for each member that a person may recreate during it.
        Step::Verify => Some(sum(trial).saturating_mul(count(plan.members.len()))),
    }
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

/// The longest trial of a member: what its label, the operator's health check or its image may ask
/// for, the stable time, and its hooks.
fn trial(member: &Member) -> Duration {
    let settings = &member.health;
    let operators = of_body(&member.recreation.body);
    let timeout = match (settings.timeout, &operators) {
        (Some(timeout), _) => timeout,
        (None, Some(healthcheck)) => settings.effective_timeout(Some(healthcheck)),
        (None, None) => settings.default_timeout.max(IMAGE_HEALTHCHECK_MAX),
    };
    let hook = timeout_of(member.post_update.as_ref());
    let required = timeout_of(member.hooks.post_update.as_ref());
    [settings.stable, settings.stable, hook, required, TRIAL_SLACK]
        .into_iter()
        .fold(timeout, Duration::saturating_add)
}

fn timeout_of(hook: Option<&Hook>) -> Duration {
    hook.map_or(Duration::ZERO, |hook| hook.timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::tests::plan;

    #[test]
    fn every_step_that_may_be_cut_short_has_an_end() {
        let plan = plan();
        for step in Step::ALL {
            let may_be_cut = !matches!(step, Step::Pull | Step::Run | Step::Commit | Step::Clean);
            assert_eq!(limit(step, &plan).is_some(), may_be_cut, "{step:?}");
        }
    }

    #[test]
    fn what_the_operator_wrote_is_never_cut() {
        let mut plan = plan();
        let day = Duration::from_secs(86_400);
        let [main] = plan.members.as_mut_slice() else { panic!("one member") };
        main.stop_timeout = day;
        main.health.timeout = Some(day);
        let stable = main.health.stable;
        assert!(limit(Step::Switch, &plan) > Some(day));
        assert!(limit(Step::Verify, &plan) > Some(day + stable));
        let [main] = plan.members.as_mut_slice() else { panic!("one member") };
        main.health.timeout = None;
        let second = 1_000_000_000_u64;
        main.recreation.body = serde_json::json!({
            "Healthcheck": { "Test": ["CMD", "/check"], "StartPeriod": 86_400 * second },
        });
        assert!(limit(Step::Verify, &plan) > Some(day));
    }
}
