//! Whether a new container is healthy: a verdict from samples, without a clock of its own.

use std::time::Duration;

use serde_json::Value;

use crate::core::policy::health_policy::HealthSettings;
use crate::core::update::healthcheck::{OwnCheck, healthcheck};

/// What a new container must prove, and in which time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPolicy {
    /// What decides whether it is healthy.
    pub source: HealthSource,
    /// How long it may take to become healthy, from its start.
    pub timeout: Duration,
    /// How long it must then stay healthy.
    pub stable: Duration,
    /// The command of its HEALTHCHECK, if the Engine runs it too seldom for this trial, so that the
    /// agent runs it as well.
    pub own_check: Option<OwnCheck>,
}

/// What decides whether a container is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSource {
    /// Its HEALTHCHECK says `healthy`.
    Healthcheck,
    /// The probe of its label succeeds.
    Probe,
    /// It runs, and keeps running.
    Running,
}

impl HealthPolicy {
    /// What this container must prove. Known only once it is created, because its image may bring a
    /// HEALTHCHECK that the old one did not have.
    #[must_use]
    pub fn of(settings: &HealthSettings, container: &Value) -> Self {
        let healthcheck = healthcheck(container);
        let source = match (&settings.probe, &healthcheck) {
            (Some(_), _) => HealthSource::Probe,
            (None, Some(_)) => HealthSource::Healthcheck,
            (None, None) => HealthSource::Running,
        };
        let timeout = settings.effective_timeout(healthcheck.as_ref());
        let own_check = healthcheck
            .filter(|check| {
                source == HealthSource::Healthcheck && check.is_asked_too_seldom(timeout)
            })
            .and_then(|check| OwnCheck::of(container, &check));
        Self { source, timeout, stable: settings.stable, own_check }
    }
}

/// One observation of the new container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Time since the start of the container, by the monotonic clock.
    pub at: Duration,
    pub status: ContainerStatus,
}

/// What the agent can see of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerStatus {
    /// It runs; nothing is known of its health.
    Running,
    /// Its source says that it is healthy.
    Healthy,
    /// Its source says that it is not healthy yet; during the stable window: no longer.
    NotHealthy(String),
    /// A check that the agent itself ran has failed. The Engine would not say `unhealthy` yet.
    Failing(String),
    /// No run of its HEALTHCHECK has ended yet.
    NeverChecked,
    /// The last result of its HEALTHCHECK is older than the verification.
    Unchecked,
    /// Its HEALTHCHECK reports `unhealthy`, after the Engine's own retries.
    Unhealthy(String),
    /// Its process ended.
    Exited {
        /// The exit code, 0 included.
        code: i64,
        /// Whether the kernel killed it for its memory.
        out_of_memory: bool,
    },
    /// A person stopped it through the Engine.
    Stopped,
    /// A person removed it.
    Removed,
    /// The Engine stopped or restarted: all earlier samples are void.
    EngineLost(String),
}

/// What the samples say so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthVerdict {
    /// Not decided. Check again when something happens, at the latest at this time since the start.
    Wait {
        /// The next moment at which the time alone decides something.
        until: Duration,
    },
    /// It has proved itself.
    Healthy,
    /// It has failed, and the image is to blame.
    Failed(String),
    /// Something else than the image ended the verification.
    Inconclusive(String),
    /// Its health was never checked, so there is no verdict.
    Unknown(String),
    /// A person ended it.
    Person(String),
}

/// Reads the samples, oldest first. `now` is the time since the start of the container.
///
/// Any exit is a failure, code 0 included, because a service does not end. Health that is lost
/// during the stable window is a failure as well; before that window the container may still become
/// healthy. A late sample counts too: its time is the time of the observation, and the container
/// may have ended long before.
#[must_use]
pub fn verdict(policy: &HealthPolicy, samples: &[Sample], now: Duration) -> HealthVerdict {
    let mut well_since = match policy.source {
        HealthSource::Running => Some(Duration::ZERO),
        HealthSource::Healthcheck | HealthSource::Probe => None,
    };
    for sample in samples {
        match fatal(&sample.status) {
            Some(verdict) => return verdict,
            None => match (&sample.status, well_since) {
                (ContainerStatus::Healthy, None) if sample.at <= policy.timeout => {
                    well_since = Some(sample.at)
                }
                (ContainerStatus::NotHealthy(detail), Some(_)) => {
                    return HealthVerdict::Failed(format!(
                        "was well, then was not any more: {detail}"
                    ));
                }
                _ => {}
            },
        }
    }
    by_time(policy, samples, well_since, now)
}

fn fatal(status: &ContainerStatus) -> Option<HealthVerdict> {
    match status {
        ContainerStatus::Exited { code, out_of_memory: true } => Some(HealthVerdict::Failed(
            format!("was killed for using too much memory (exit code {code})"),
        )),
        ContainerStatus::Exited { code, .. } => {
            Some(HealthVerdict::Failed(format!("exited with code {code}")))
        }
        ContainerStatus::Unhealthy(detail) if detail.is_empty() => {
            Some(HealthVerdict::Failed("its HEALTHCHECK says unhealthy".into()))
        }
        ContainerStatus::Unhealthy(detail) => {
            Some(HealthVerdict::Failed(format!("its HEALTHCHECK says unhealthy: {detail}")))
        }
        ContainerStatus::Stopped => {
            Some(HealthVerdict::Person("a person stopped the new container".into()))
        }
        ContainerStatus::Removed => {
            Some(HealthVerdict::Person("a person removed the new container".into()))
        }
        ContainerStatus::EngineLost(detail) => Some(HealthVerdict::Inconclusive(detail.clone())),
        ContainerStatus::Running
        | ContainerStatus::Healthy
        | ContainerStatus::NotHealthy(_)
        | ContainerStatus::Failing(_)
        | ContainerStatus::NeverChecked
        | ContainerStatus::Unchecked => None,
    }
}

fn by_time(
    policy: &HealthPolicy,
    samples: &[Sample],
    well_since: Option<Duration>,
    now: Duration,
) -> HealthVerdict {
    match well_since {
        Some(since) if now >= since + policy.stable => HealthVerdict::Healthy,
        Some(since) => HealthVerdict::Wait { until: since + policy.stable },
        None if now >= policy.timeout => not_in_time(policy, samples),
        None => HealthVerdict::Wait { until: policy.timeout },
    }
}

fn not_in_time(policy: &HealthPolicy, samples: &[Sample]) -> HealthVerdict {
    let timeout = humantime::format_duration(policy.timeout);
    match samples.last().map(|last| &last.status) {
        Some(ContainerStatus::Unchecked) => {
            return HealthVerdict::Unknown(format!(
                "the Engine was started again, and did not run the HEALTHCHECK within {timeout}"
            ));
        }
        Some(ContainerStatus::NeverChecked) => {
            return HealthVerdict::Unknown(format!(
                "the HEALTHCHECK came to no end within {timeout}"
            ));
        }
        _ => {}
    }
    let last = samples.iter().rev().find_map(|sample| match &sample.status {
        ContainerStatus::NotHealthy(detail) | ContainerStatus::Failing(detail)
            if !detail.is_empty() =>
        {
            Some(detail)
        }
        _ => None,
    });
    HealthVerdict::Failed(match last {
        Some(detail) => format!("was not well within {timeout}: {detail}"),
        None => format!("was not well within {timeout}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy(source: HealthSource) -> HealthPolicy {
        HealthPolicy { source, timeout: seconds(60), stable: seconds(30), own_check: None }
    }

    fn check(source: HealthSource, samples: &[(u64, ContainerStatus)], now: u64) -> HealthVerdict {
        let samples: Vec<_> = samples
            .iter()
            .map(|(at, status)| Sample { at: seconds(*at), status: status.clone() })
            .collect();
        verdict(&policy(source), &samples, seconds(now))
    }

    fn exit(code: i64) -> ContainerStatus {
        ContainerStatus::Exited { code, out_of_memory: false }
    }

    #[test]
    fn a_healthcheck_that_the_new_image_brings_is_the_gate() {
        let settings = HealthSettings {
            timeout: None,
            default_timeout: seconds(60),
            stable: seconds(30),
            probe: None,
        };
        let second = 1_000_000_000_u64;
        let slow = serde_json::json!({ "Config": { "Healthcheck": {
            "Test": ["CMD", "/check"], "Interval": 45 * second, "Timeout": 15 * second, "Retries": 3,
        }}});
        let policy = HealthPolicy::of(&settings, &slow);
        assert_eq!(policy.source, HealthSource::Healthcheck);
        assert_eq!(policy.timeout, seconds(240));
        let bare = HealthPolicy::of(&settings, &serde_json::json!({}));
        assert_eq!((bare.source, bare.timeout), (HealthSource::Running, seconds(60)));
    }

    #[test]
    fn without_a_gate_it_must_run_for_the_stable_window() {
        let running = [(0, ContainerStatus::Running)];
        assert_eq!(
            check(HealthSource::Running, &running, 29),
            HealthVerdict::Wait { until: seconds(30) }
        );
        assert_eq!(check(HealthSource::Running, &running, 30), HealthVerdict::Healthy);
    }

    #[test]
    fn any_exit_is_a_failure_zero_included() {
        for code in [0, 1, 137] {
            let verdict = check(HealthSource::Running, &[(29, exit(code))], 29);
            assert_eq!(verdict, HealthVerdict::Failed(format!("exited with code {code}")));
        }
    }

    #[test]
    fn an_exit_that_is_seen_late_is_still_an_exit() {
        assert!(matches!(
            check(HealthSource::Running, &[(31, exit(1))], 31),
            HealthVerdict::Failed(_)
        ));
        let lost = [(31, ContainerStatus::EngineLost("the event stream ended".into()))];
        assert!(matches!(check(HealthSource::Running, &lost, 31), HealthVerdict::Inconclusive(_)));
    }

    #[test]
    fn a_slow_healthcheck_has_its_time_and_then_its_stable_window() {
        let slow = HealthPolicy { timeout: seconds(240), ..policy(HealthSource::Healthcheck) };
        let well = [Sample { at: seconds(180), status: ContainerStatus::Healthy }];
        assert_eq!(verdict(&slow, &[], seconds(179)), HealthVerdict::Wait { until: seconds(240) });
        assert_eq!(
            verdict(&slow, &well, seconds(209)),
            HealthVerdict::Wait { until: seconds(210) }
        );
        assert_eq!(verdict(&slow, &well, seconds(210)), HealthVerdict::Healthy);
    }

    #[test]
    fn never_healthy_fails_at_the_timeout_with_the_last_word() {
        let samples = [(5, ContainerStatus::NotHealthy("connection refused".into()))];
        assert_eq!(
            check(HealthSource::Probe, &samples, 59),
            HealthVerdict::Wait { until: seconds(60) }
        );
        let expected = "was not well within 1m: connection refused";
        assert_eq!(
            check(HealthSource::Probe, &samples, 60),
            HealthVerdict::Failed(expected.into())
        );
    }

    #[test]
    fn health_that_is_lost_in_the_stable_window_is_a_failure() {
        let samples =
            [(5, ContainerStatus::Healthy), (20, ContainerStatus::NotHealthy("timed out".into()))];
        assert!(matches!(check(HealthSource::Probe, &samples, 20), HealthVerdict::Failed(_)));
        let samples =
            [(5, ContainerStatus::Healthy), (20, ContainerStatus::Unhealthy(String::new()))];
        assert!(matches!(check(HealthSource::Healthcheck, &samples, 20), HealthVerdict::Failed(_)));
    }

    #[test]
    fn an_engine_restart_makes_the_verdict_inconclusive() {
        let samples =
            [(5, ContainerStatus::EngineLost("the event stream ended".into())), (6, exit(255))];
        assert!(matches!(
            check(HealthSource::Running, &samples, 6),
            HealthVerdict::Inconclusive(_)
        ));
    }

    #[test]
    fn a_healthcheck_that_no_longer_runs_is_inconclusive() {
        let unchecked = (1, ContainerStatus::Unchecked);
        let stale = [unchecked.clone()];
        assert_eq!(
            check(HealthSource::Healthcheck, &stale, 59),
            HealthVerdict::Wait { until: seconds(60) }
        );
        assert!(matches!(check(HealthSource::Healthcheck, &stale, 60), HealthVerdict::Unknown(_)));
        let checked = [unchecked, (5, ContainerStatus::NotHealthy("connection refused".into()))];
        assert!(matches!(check(HealthSource::Healthcheck, &checked, 60), HealthVerdict::Failed(_)));
    }

    #[test]
    fn a_check_that_never_ran_is_no_verdict_on_the_image() {
        let never = [(0, ContainerStatus::NeverChecked)];
        assert!(matches!(check(HealthSource::Healthcheck, &never, 60), HealthVerdict::Unknown(_)));
        let failed = [
            (0, ContainerStatus::NeverChecked),
            (40, ContainerStatus::NotHealthy("refused".into())),
        ];
        assert!(matches!(check(HealthSource::Healthcheck, &failed, 60), HealthVerdict::Failed(_)));
    }

    #[test]
    fn a_single_failed_check_does_not_end_the_stable_window() {
        let samples =
            [(5, ContainerStatus::Healthy), (20, ContainerStatus::Failing("busy".into()))];
        assert_eq!(check(HealthSource::Healthcheck, &samples, 35), HealthVerdict::Healthy);
    }

    #[test]
    fn becoming_healthy_after_the_timeout_is_too_late() {
        assert!(matches!(
            check(HealthSource::Healthcheck, &[(61, ContainerStatus::Healthy)], 61),
            HealthVerdict::Failed(_)
        ));
    }

    #[test]
    fn what_a_person_does_is_not_the_images_fault() {
        assert!(matches!(
            check(HealthSource::Running, &[(3, ContainerStatus::Removed)], 3),
            HealthVerdict::Person(_)
        ));
        assert!(matches!(
            check(HealthSource::Running, &[(3, ContainerStatus::Stopped)], 3),
            HealthVerdict::Person(_)
        ));
    }
}
