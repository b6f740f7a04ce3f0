//! The settings by which Swarm carries out an update: what the user wrote, made safe for the time
//! of the update.
//!
//! Swarm's defaults are not safe (measured with Engine 20.10): without a delay the next node is
//! taken as soon as the first task runs, and the monitor time begins at the start of a task and
//! holds up nothing. A delay of the stable time makes the first node a canary.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::core::service::facts::ServiceFacts;

/// Swarm's `Monitor`, if the user wrote none (swarmkit, `manager/orchestrator/update`).
const MONITOR_DEFAULT: Duration = Duration::from_secs(5);

/// What the settings of an update must be made for.
#[derive(Debug, Clone, Copy)]
pub struct Safety {
    /// How long a new task must stay healthy.
    pub stable: Duration,
    /// Whether the specification before names a digest. Otherwise Swarm's own rollback leads to the
    /// tag, and the tag is the bad image by then.
    pub is_pinned: bool,
}

/// The settings for the time of an update, from those of the user.
///
/// # Errors
/// The user asks for something that cannot be made safe; the sentence says what.
pub fn safe(facts: &ServiceFacts, safety: Safety) -> Result<Value, String> {
    let mut config = users(facts.update_config.as_ref());
    let word = |config: &Map<String, Value>, field: &str| {
        config.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if word(&config, "FailureAction") == "continue" {
        return Err("its update settings say `failure_action: continue`, so Swarm would replace \
                    every task by a failing one"
            .into());
    }
    if word(&config, "Order") == "start-first" && !facts.host_ports.is_empty() {
        return Err(
            "its update settings say `order: start-first`, but its ports are published with \
                    `mode: host`, so the new task would wait for the port without end"
                .into(),
        );
    }
    let longer = |config: &Map<String, Value>, field: &str, least: Duration| {
        nanoseconds(time(config, field).unwrap_or_default().max(least))
    };
    let delay = longer(&config, "Delay", safety.stable);
    let monitor = longer(&config, "Monitor", safety.stable.max(MONITOR_DEFAULT));
    config.insert("Delay".into(), delay.into());
    config.insert("Monitor".into(), monitor.into());
    let action = if safety.is_pinned { "rollback" } else { "pause" };
    config.insert("FailureAction".into(), action.into());
    // The agent goes back after one failed task, so Swarm must not go on after it.
    config.insert("MaxFailureRatio".into(), json!(0));
    config.entry("Parallelism").or_insert(json!(1));
    config.entry("Order").or_insert(json!("stop-first"));
    Ok(config.into())
}

/// The settings for going back: the user's own ones for a rollback, without a delay, and without a
/// stop at a task that fails, because every place must get the old image again.
#[must_use]
pub fn back(facts: &ServiceFacts) -> Value {
    let mut config = users(facts.rollback_config.as_ref());
    config.insert("Delay".into(), json!(0));
    config.insert("FailureAction".into(), json!("continue"));
    config.insert("Monitor".into(), nanoseconds(Duration::from_millis(1)).into());
    config.entry("Parallelism").or_insert(json!(1));
    config.entry("Order").or_insert(json!("stop-first"));
    config.into()
}

/// How fast Swarm goes from task to task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatePace {
    /// `stop-first` or `start-first`.
    pub order: String,
    /// Tasks at the same time; 0: all.
    pub parallelism: u64,
    /// The pause between two steps.
    pub delay: Duration,
}

/// Reads the pace of settings that [`safe`] wrote.
#[must_use]
pub fn pace(config: &Value) -> UpdatePace {
    let config = users(Some(config));
    let order = config.get("Order").and_then(Value::as_str).unwrap_or("stop-first");
    UpdatePace {
        order: order.to_owned(),
        parallelism: config.get("Parallelism").and_then(Value::as_u64).unwrap_or(1),
        delay: time(&config, "Delay").unwrap_or_default(),
    }
}

/// How long a task must stay healthy: the stable time, or the user's own `Monitor` if it is longer.
#[must_use]
pub fn stable(facts: &ServiceFacts, stable: Duration) -> Duration {
    time(&users(facts.update_config.as_ref()), "Monitor").unwrap_or_default().max(stable)
}

/// The longest time that Swarm may need for all places of a service: for each batch the end of the
/// old tasks, the time to become healthy, and the delay.
#[must_use]
pub fn longest(config: &Value, slots: usize, grace: Duration, healthy: Duration) -> Duration {
    let parallel = config.get("Parallelism").and_then(Value::as_u64).unwrap_or(1);
    let slots = u64::try_from(slots.max(1)).unwrap_or(u64::MAX);
    // 0 means all at once.
    let batches = if parallel == 0 { 1 } else { slots.div_ceil(parallel) };
    let delay = config.get("Delay").and_then(Value::as_u64).map(Duration::from_nanos);
    let batch = grace.saturating_add(healthy).saturating_add(delay.unwrap_or_default());
    batch.saturating_mul(u32::try_from(batches).unwrap_or(u32::MAX))
}

fn users(config: Option<&Value>) -> Map<String, Value> {
    config.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn time(config: &Map<String, Value>, field: &str) -> Option<Duration> {
    config.get(field).and_then(Value::as_u64).map(Duration::from_nanos)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::service::recorded;

    const STABLE: Duration = Duration::from_secs(30);
    const PINNED: Safety = Safety { stable: STABLE, is_pinned: true };
    const UNPINNED: Safety = Safety { stable: STABLE, is_pinned: false };
    const SECOND: u64 = 1_000_000_000;

    fn with(config: Option<Value>) -> ServiceFacts {
        ServiceFacts { update_config: config, ..recorded::look("unpinned").facts }
    }

    #[test]
    fn what_the_user_did_not_write_is_safe_and_a_rollback_only_leads_to_a_digest() {
        let config = |action: &str| {
            json!({
                "Parallelism": 1, "Delay": 30 * SECOND, "Monitor": 30 * SECOND,
                "FailureAction": action, "MaxFailureRatio": 0, "Order": "stop-first",
            })
        };
        assert_eq!(safe(&with(None), PINNED), Ok(config("rollback")));
        assert_eq!(safe(&with(None), UNPINNED), Ok(config("pause")));
        assert_eq!(safe(&with(Some(json!({}))), PINNED), Ok(config("rollback")));
        let short = Safety { stable: Duration::from_secs(1), is_pinned: true };
        let quick = safe(&with(None), short).expect("settings");
        assert_eq!(quick["Delay"], SECOND);
        assert_eq!(quick["Monitor"], 5 * SECOND, "Swarm's own monitor time is never shortened");
    }

    #[test]
    fn what_the_user_wrote_stays_unless_it_is_not_safe() {
        let wrote = json!({
            "Parallelism": 3, "Delay": 60 * SECOND, "Monitor": 10 * SECOND, "Order": "start-first",
            "FailureAction": "pause", "MaxFailureRatio": 0.5, "Unknown": { "deep": [1] },
        });
        let facts = ServiceFacts { host_ports: Vec::new(), ..with(Some(wrote)) };
        let config = safe(&facts, PINNED).expect("settings");
        let expected = json!({
            "Parallelism": 3, "Delay": 60 * SECOND, "Monitor": 30 * SECOND, "Order": "start-first",
            "FailureAction": "rollback", "MaxFailureRatio": 0, "Unknown": { "deep": [1] },
        });
        assert_eq!(config, expected);
        let all = safe(&with(Some(json!({ "Parallelism": 0 }))), PINNED).expect("settings");
        assert_eq!(all["Parallelism"], 0, "all at once is the user's own word");
    }

    #[test]
    fn what_cannot_be_made_safe_is_refused() {
        let says = |config: Value, ports: bool| {
            let mut facts = with(Some(config));
            if !ports {
                facts.host_ports.clear();
            }
            safe(&facts, PINNED).err().unwrap_or_default()
        };
        assert!(says(json!({ "FailureAction": "continue" }), false).contains("continue"));
        assert!(says(json!({ "Order": "start-first" }), true).contains("start-first"));
        assert_eq!(says(json!({ "Order": "start-first" }), false), "");
        assert_eq!(says(json!({ "Order": "stop-first" }), true), "");
    }

    #[test]
    fn the_way_back_waits_for_nothing_and_stops_at_nothing() {
        let wrote = json!({ "Parallelism": 2, "Delay": 600 * SECOND, "FailureAction": "pause" });
        let facts = ServiceFacts { rollback_config: Some(wrote), ..with(None) };
        let config = back(&facts);
        assert_eq!((&config["Parallelism"], &config["Delay"]), (&json!(2), &json!(0)));
        assert_eq!(config["FailureAction"], "continue");
        assert_eq!(back(&with(None))["Parallelism"], 1);
    }

    #[test]
    fn the_time_for_all_places_counts_batches() {
        let second = Duration::from_secs;
        let longest = |parallel: u64, slots| {
            let config = json!({ "Parallelism": parallel, "Delay": 30 * SECOND });
            longest(&config, slots, second(10), second(60)).as_secs()
        };
        assert_eq!(longest(1, 2), 200);
        assert_eq!(longest(3, 100), 3400);
        assert_eq!(longest(0, 100), 100);
        assert_eq!(longest(1, 0), 100);
        let monitor = json!({ "Monitor": 90 * SECOND });
        assert_eq!(stable(&with(Some(monitor)), STABLE), second(90));
        assert_eq!(stable(&with(None), STABLE), STABLE);
    }
}
