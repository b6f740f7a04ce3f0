//! The HEALTHCHECK of a container, read from its inspect document.

use std::time::Duration;

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::policy::health_policy::{HealthSettings, Healthcheck, IMAGE_HEALTHCHECK_MAX};
use crate::core::time::duration::format_duration;
use crate::core::update::health::ContainerStatus;

/// The command of a HEALTHCHECK, as the Engine would run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheck {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long one run may take.
    pub timeout: Duration,
    /// How many failures in a row count as `unhealthy`.
    pub retries: u32,
    /// How long failures do not count after the start.
    pub start_period: Duration,
}

impl OwnCheck {
    pub(super) fn of(container: &Value, healthcheck: &Healthcheck) -> Option<Self> {
        Some(Self {
            command: healthcheck_command(container)?,
            timeout: healthcheck.timeout_or_default(),
            retries: healthcheck.retries_or_default(),
            start_period: healthcheck.start_period,
        })
    }

    /// The status after a failed run, if `failures` runs in a row have failed, this one included.
    #[must_use]
    pub fn failed(&self, failures: u32, since_start: Duration, detail: String) -> ContainerStatus {
        if failures >= self.retries && since_start >= self.start_period {
            ContainerStatus::Unhealthy(detail)
        } else {
            ContainerStatus::Failing(detail)
        }
    }
}

/// Why the update must not switch to a container: its image asks for a longer trial than an image
/// may ask for. `recreation` is the create body; a HEALTHCHECK in it is the operator's.
#[must_use]
pub fn asks_for_too_long(
    settings: &HealthSettings,
    recreation: &Value,
    container: &Value,
) -> Option<String> {
    let is_the_operators = of_body(recreation).is_some();
    let healthcheck = healthcheck(container).filter(|_| !is_the_operators)?;
    let needed = settings.image_timeout_excess(&healthcheck)?;
    Some(format!(
        "the HEALTHCHECK of the image may take {} to give its verdict, and an image may ask for {} at \
         most; the label pilotfish.health.timeout allows more",
        format_duration(needed),
        format_duration(IMAGE_HEALTHCHECK_MAX.max(settings.default_timeout)),
    ))
}

/// Whether a HEALTHCHECK or a probe tells that a container works, and not only that it runs.
#[must_use]
pub fn is_judged(settings: &HealthSettings, container: &Value) -> bool {
    settings.probe.is_some() || healthcheck(container).is_some()
}

/// The command of a HEALTHCHECK: `CMD` unchanged, `CMD-SHELL` through the container's shell (Docker
/// Engine API, `HealthConfig.Test`).
fn healthcheck_command(container: &Value) -> Option<Vec<String>> {
    let words = |pointer| {
        let words = container.pointer(pointer).and_then(Value::as_array);
        words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut test = words("/Config/Healthcheck/Test");
    match test.first()?.as_str() {
        "CMD" => Some(test.split_off(1)).filter(|command| !command.is_empty()),
        "CMD-SHELL" => {
            let shell = Some(words("/Config/Shell")).filter(|shell| !shell.is_empty());
            let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
            command.push(test.get(1)?.clone());
            Some(command)
        }
        _ => None,
    }
}

/// The HEALTHCHECK of an inspect document; the times there are nanoseconds.
#[must_use]
pub fn healthcheck(container: &Value) -> Option<Healthcheck> {
    if !inspect::has_healthcheck(container) {
        return None;
    }
    container.pointer("/Config/Healthcheck").map(times)
}

/// The operator's own HEALTHCHECK in the body that a container is created with.
#[must_use]
pub fn of_body(body: &Value) -> Option<Healthcheck> {
    body.get("Healthcheck").filter(|check| !check.is_null()).map(times)
}

fn times(healthcheck: &Value) -> Healthcheck {
    let number = |name: &str| healthcheck.get(name).and_then(Value::as_u64).unwrap_or(0);
    Healthcheck {
        interval: Duration::from_nanos(number("Interval")),
        timeout: Duration::from_nanos(number("Timeout")),
        retries: u32::try_from(number("Retries")).unwrap_or(u32::MAX),
        start_period: Duration::from_nanos(number("StartPeriod")),
        start_interval: Duration::from_nanos(number("StartInterval")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::update::health::HealthPolicy;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn with_healthcheck(healthcheck: &Value) -> Value {
        json!({ "Config": { "Healthcheck": healthcheck } })
    }

    fn defaults() -> HealthSettings {
        HealthSettings {
            timeout: None,
            default_timeout: seconds(60),
            stable: seconds(30),
            probe: None,
        }
    }

    #[test]
    fn the_agent_runs_a_check_that_the_engine_runs_too_seldom() {
        let hour = 3_600_000_000_000_u64;
        let hurried = HealthSettings { timeout: Some(seconds(30)), ..defaults() };
        let seldom = |test: Value| {
            let document = with_healthcheck(&json!({ "Test": test, "Interval": hour }));
            HealthPolicy::of(&hurried, &document).own_check.map(|check| check.command)
        };
        assert_eq!(seldom(json!(["CMD", "/check", "-q"])).unwrap(), ["/check", "-q"]);
        let shell = seldom(json!(["CMD-SHELL", "true || false"])).unwrap();
        assert_eq!(shell, ["/bin/sh", "-c", "true || false"]);
        assert_eq!(seldom(json!(["CMD"])), None);
        let often = json!({ "Test": ["CMD", "/check"], "Interval": 1_000_000_000_u64 });
        assert_eq!(HealthPolicy::of(&hurried, &with_healthcheck(&often)).own_check, None);
    }

    #[test]
    fn an_own_check_is_as_patient_as_the_engine() {
        let check = OwnCheck {
            command: vec!["/check".into()],
            timeout: seconds(30),
            retries: 3,
            start_period: seconds(20),
        };
        let failed = |failures, since| check.failed(failures, seconds(since), String::new());
        assert_eq!(failed(2, 60), ContainerStatus::Failing(String::new()));
        assert_eq!(failed(3, 19), ContainerStatus::Failing(String::new()));
        assert_eq!(failed(3, 20), ContainerStatus::Unhealthy(String::new()));
    }

    #[test]
    fn only_the_healthcheck_of_an_image_can_be_too_long() {
        let year = 8_760 * 3_600_000_000_000_u64;
        let slow = json!({ "Test": ["CMD", "/check"], "StartPeriod": year });
        let container = with_healthcheck(&slow);
        let bare = json!({});
        let told = asks_for_too_long(&defaults(), &bare, &container).expect("too long");
        assert!(told.contains("pilotfish.health.timeout"), "{told}");
        let operators = json!({ "Healthcheck": slow });
        assert_eq!(asks_for_too_long(&defaults(), &operators, &container), None);
        let allowed = HealthSettings { timeout: Some(seconds(3_600)), ..defaults() };
        assert_eq!(asks_for_too_long(&allowed, &bare, &container), None);
    }
}
