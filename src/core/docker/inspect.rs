//! Reads fields of an inspect document, which stays raw JSON. A field that is missing or of another
//! type gives a default, and never a panic.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::core::docker::reference::Platform;

/// Stop timeout of a container that sets none (Docker's default).
pub const STOP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Longest stop timeout, one day. The user gave a program that flushes its data for minutes this
/// time on purpose, so every shorter value is kept.
pub const STOP_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Stop timeout if `StopTimeout` is negative: Docker then waits without a limit, and the update
/// would never end.
pub const STOP_TIMEOUT_OF_ENDLESS: Duration = Duration::from_secs(300);

/// The text at a JSON pointer; empty if there is none.
#[must_use]
pub fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the flag at a JSON pointer is set.
#[must_use]
pub fn flag(document: &Value, pointer: &str) -> bool {
    document.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The container's ID.
#[must_use]
pub fn id(container: &Value) -> &str {
    text(container, "/Id")
}

/// The container's name, without the slash.
#[must_use]
pub fn name(container: &Value) -> &str {
    text(container, "/Name").trim_start_matches('/')
}

/// The ID of the container's image.
#[must_use]
pub fn image_id(container: &Value) -> &str {
    text(container, "/Image")
}

/// The image as the user wrote it.
#[must_use]
pub fn image_as_written(container: &Value) -> &str {
    text(container, "/Config/Image")
}

/// The platform of an image, from its inspect document.
#[must_use]
pub fn platform(image: &Value) -> Platform {
    let text = |pointer| text(image, pointer).to_owned();
    Platform { os: text("/Os"), architecture: text("/Architecture"), variant: text("/Variant") }
}

/// The digests of an image's unpacked layers, lowest first.
pub fn layers(image: &Value) -> impl Iterator<Item = &str> {
    let layers = image.pointer("/RootFS/Layers").and_then(Value::as_array);
    layers.into_iter().flatten().filter_map(Value::as_str)
}

/// The labels of a container, with those of its image.
#[must_use]
pub fn labels(container: &Value) -> BTreeMap<String, String> {
    let labels = container.pointer("/Config/Labels").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    labels.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// Whether the process runs. A paused one counts as running, a restarting one does not.
#[must_use]
pub fn is_running(container: &Value) -> bool {
    flag(container, "/State/Running")
}

/// Whether the container was ever started. The Engine writes the year 1 if not.
#[must_use]
pub fn was_started(container: &Value) -> bool {
    started_at(container).is_some()
}

/// When the container was created.
#[must_use]
pub fn created_at(container: &Value) -> Option<DateTime<Utc>> {
    time(container, "/Created")
}

/// When the container was last started.
#[must_use]
pub fn started_at(container: &Value) -> Option<DateTime<Utc>> {
    time(container, "/State/StartedAt")
}

/// When the process last ended. The Engine keeps this time while the next process runs.
#[must_use]
pub fn finished_at(container: &Value) -> Option<DateTime<Utc>> {
    time(container, "/State/FinishedAt")
}

/// The latest of these three times.
#[must_use]
pub fn changed_at(container: &Value) -> Option<DateTime<Utc>> {
    ["/Created", "/State/StartedAt", "/State/FinishedAt"]
        .into_iter()
        .filter_map(|pointer| time(container, pointer))
        .max()
}

fn time(container: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text(container, pointer)).ok()?.with_timezone(&Utc);
    (time > DateTime::UNIX_EPOCH).then_some(time)
}

/// The exit code of the last run.
#[must_use]
pub fn exit_code(container: &Value) -> i64 {
    container.pointer("/State/ExitCode").and_then(Value::as_i64).unwrap_or(-1)
}

/// The status of the HEALTHCHECK; `None` if there is no HEALTHCHECK.
#[must_use]
pub fn health(container: &Value) -> Option<&str> {
    container
        .pointer("/State/Health/Status")
        .and_then(Value::as_str)
        .filter(|status| !matches!(*status, "" | "none"))
}

/// The output of the last HEALTHCHECK.
#[must_use]
pub fn health_output(container: &Value) -> &str {
    last_check(container).map_or("", |entry| text(entry, "/Output")).trim()
}

/// When the Engine last completed a HEALTHCHECK, as the Engine writes it; empty if it never did.
#[must_use]
pub fn last_check_at(container: &Value) -> &str {
    last_check(container).map_or("", |entry| text(entry, "/End"))
}

fn last_check(container: &Value) -> Option<&Value> {
    container.pointer("/State/Health/Log")?.as_array()?.last()
}

/// Whether a document's configuration has a HEALTHCHECK that is not disabled.
#[must_use]
pub fn has_healthcheck(container: &Value) -> bool {
    let test = container.pointer("/Config/Healthcheck/Test").and_then(Value::as_array);
    let first = test.and_then(|test| test.first()).and_then(Value::as_str);
    !matches!(first, None | Some("NONE" | ""))
}

/// The container's stop timeout. Only a value of more than a day, or without a limit, is shortened;
/// [`stop_timeout_is_shortened`] says so.
#[must_use]
pub fn stop_timeout(container: &Value) -> Duration {
    match stop_timeout_as_written(container) {
        None => STOP_TIMEOUT_DEFAULT,
        Some(seconds) => u64::try_from(seconds).map_or(STOP_TIMEOUT_OF_ENDLESS, |seconds| {
            Duration::from_secs(seconds).min(STOP_TIMEOUT_MAX)
        }),
    }
}

/// Whether the container gets less time to stop than it asks for.
#[must_use]
pub fn stop_timeout_is_shortened(container: &Value) -> bool {
    stop_timeout_as_written(container).is_some_and(|seconds| {
        u64::try_from(seconds).map_or(true, |seconds| seconds > STOP_TIMEOUT_MAX.as_secs())
    })
}

fn stop_timeout_as_written(container: &Value) -> Option<i64> {
    container.pointer("/Config/StopTimeout").and_then(Value::as_i64)
}

/// An address of the container: on one of its networks, or the machine's loopback if it uses the
/// machine's network.
#[must_use]
pub fn address(container: &Value) -> Option<&str> {
    if text(container, "/HostConfig/NetworkMode") == "host" {
        return Some("127.0.0.1");
    }
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object)?;
    let of = |pointer: &'static str| {
        networks.values().map(move |network| text(network, pointer)).find(|found| !found.is_empty())
    };
    of("/IPAddress").or_else(|| of("/GlobalIPv6Address"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_year_one_means_never() {
        let container = json!({ "State": { "StartedAt": "0001-01-01T00:00:00Z" } });
        assert!(!was_started(&container));
        let container = json!({ "State": { "StartedAt": "2026-11-21T07:00:00.123456789Z" } });
        assert!(was_started(&container));
    }

    #[test]
    fn a_finite_grace_period_stands_and_an_endless_one_is_shortened() {
        let check = |value: Value, seconds: u64, is_shortened: bool| {
            let container = json!({ "Config": { "StopTimeout": value } });
            assert_eq!(stop_timeout(&container), Duration::from_secs(seconds));
            assert_eq!(stop_timeout_is_shortened(&container), is_shortened);
        };
        check(Value::Null, 10, false);
        check(json!(0), 0, false);
        check(json!(3), 3, false);
        check(json!(600), 600, false);
        check(json!(86_400), 86_400, false);
        check(json!(99_999), 86_400, true);
        check(json!(-1), 300, true);
        check(json!(i64::MIN), 300, true);
        check(json!(i64::MAX), 86_400, true);
    }

    #[test]
    fn a_healthcheck_that_is_switched_off_is_none() {
        let check = |test: Value, expected: bool| {
            let container = json!({ "Config": { "Healthcheck": { "Test": test } } });
            assert_eq!(has_healthcheck(&container), expected);
        };
        check(json!(["CMD", "/check"]), true);
        check(json!(["NONE"]), false);
        check(json!([]), false);
        check(Value::Null, false);
    }

    #[test]
    fn documents_of_any_shape_are_answered() {
        for document in [json!(null), json!([]), json!("x"), json!({ "State": 7, "Config": [] })] {
            assert_eq!(name(&document), "");
            assert!(!is_running(&document));
            assert_eq!(health(&document), None);
            assert_eq!(address(&document), None);
        }
    }
}
