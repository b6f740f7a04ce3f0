//! Layer 2: runs the probe of a label on a running container.

use std::time::Duration;

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::policy::probe::Probe;
use crate::engine::Containers;
use crate::host::Host;
use crate::ports::Ports;

/// Longest time for one try.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time for a command of a probe: on a busy Pi its start alone takes seconds.
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the probe once.
///
/// # Errors
/// The result of the probe, in words: `answered 503`, `exit code 1`.
pub async fn run(
    ports: &impl Ports,
    container: &str,
    document: &Value,
    probe: &Probe,
) -> Result<(), String> {
    let own = || {
        let address = inspect::address(document).map(str::to_owned);
        address.ok_or_else(|| "the container has no address of its own to probe".to_owned())
    };
    match probe {
        Probe::Http { host, port, path } => {
            let host = host.clone().map_or_else(own, Ok)?;
            ports.host().probe_http(&host, *port, path, PROBE_TIMEOUT).await
        }
        Probe::Tcp { host, port } => {
            let host = host.clone().map_or_else(own, Ok)?;
            ports.host().probe_tcp(&host, *port, PROBE_TIMEOUT).await
        }
        Probe::Exec(command) => match ports.engine().exec(container, command, EXEC_TIMEOUT).await {
            Ok(0) => Ok(()),
            Ok(code) => Err(format!("exit code {code}")),
            Err(error) => Err(error.to_string()),
        },
    }
}
