//! The Engine's event stream, read leniently: an unknown line is ignored.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::connection::Connection;
use super::path::escape;
use crate::engine::{ContainerEvent, EngineError};

/// Longest line of the stream, in bytes. An event has some 2 kB, labels included.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Listens to one container. The stream ends when the Engine goes away.
///
/// # Errors
/// The Engine does not answer.
pub async fn listen(
    connection: &Connection,
    container: &str,
) -> Result<BoxStream<'static, ContainerEvent>, EngineError> {
    let filters = json!({ "type": ["container"], "container": [container] }).to_string();
    let (raw, prefix) = connection.raw().await?;
    let body = raw
        .stream("events", &format!("{prefix}/events?filters={}", escape(&filters)), None)
        .await?;
    let lines = stream::unfold((body.boxed(), Vec::new()), |(mut body, mut pending)| async move {
        loop {
            if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                return Some((line, (body, pending)));
            }
            let chunk = body.try_next().await.ok().flatten()?;
            pending.extend_from_slice(&chunk);
            if pending.len() > LINE_BYTES_MAX {
                return None;
            }
        }
    });
    Ok(lines.filter_map(|line| async move { read(&line) }).boxed())
}

fn read(line: &[u8]) -> Option<ContainerEvent> {
    let event: Value = serde_json::from_slice(line).ok()?;
    // Engines before 1.22 had only `status`; Podman still sends both.
    let action = event.get("Action").or_else(|| event.get("status"))?.as_str()?;
    let attribute = |name: &str| event.get("Actor")?.get("Attributes")?.get(name)?.as_str();
    Some(match action {
        "die" | "died" => {
            let code = attribute("exitCode").or_else(|| attribute("containerExitCode"));
            ContainerEvent::Died { code: code.and_then(|code| code.parse().ok()).unwrap_or(-1) }
        }
        "oom" => ContainerEvent::OutOfMemory,
        "kill" | "stop" => ContainerEvent::Killed,
        "destroy" | "remove" => ContainerEvent::Destroyed,
        other => match other.strip_prefix("health_status:") {
            Some(health) => ContainerEvent::Health(health.trim().to_owned()),
            None => ContainerEvent::Other(other.to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_by_their_action() {
        let check = |line: &str, expected: ContainerEvent| {
            assert_eq!(read(line.as_bytes()), Some(expected), "{line}");
        };
        check(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"x","Attributes":{"exitCode":"137"}}}"#,
            ContainerEvent::Died { code: 137 },
        );
        check(r#"{"Action":"oom"}"#, ContainerEvent::OutOfMemory);
        check(r#"{"Action":"health_status: healthy"}"#, ContainerEvent::Health("healthy".into()));
        check(r#"{"Action":"destroy"}"#, ContainerEvent::Destroyed);
        check(r#"{"Action":"rename"}"#, ContainerEvent::Other("rename".into()));
    }

    #[test]
    fn a_line_that_is_no_event_is_passed_over() {
        for line in ["", "{}", "null", "[1]", "{\"Action\":7}", "not json"] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
