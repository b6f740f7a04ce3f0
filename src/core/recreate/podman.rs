//! Podman's dialect: what its Docker API shows otherwise than it takes it back (tried with 4.3).

use serde_json::{Map, Value};

use crate::core::recreate::document::Place;
use crate::core::recreate::{CannotRecreate, automatic_hostname};

/// How Podman's inspect begins the names of limits, which create takes without it.
const LIMIT_PREFIX: &str = "RLIMIT_";

/// What Podman itself puts into every environment.
const PODMANS_OWN: [&str; 2] = ["container=podman", "TERM=xterm"];

/// What Podman calls the runtime where the user chose none.
const DEFAULT_RUNTIME: &str = "oci";

/// Says in the words of create what Podman's inspect says in others. A document of Docker's Engine
/// stays as it is.
pub(super) fn translate(
    container: &Place<'_>,
    config: &mut Map<String, Value>,
    host_config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    translate_limits(container, host_config)?;
    let environment = container.path(&["Config", "Env"])?.strings()?;
    if !environment.contains(&PODMANS_OWN[0]) {
        return Ok(());
    }
    let hostname = format!("HOSTNAME={}", automatic_hostname(container.field("Id")?.string()?));
    if let Some(entries) = config.get_mut("Env").and_then(Value::as_array_mut) {
        entries.retain(|entry| {
            let entry = entry.as_str().unwrap_or_default();
            !PODMANS_OWN.contains(&entry) && entry != hostname
        });
    }
    if let Some(ports) = host_config.get_mut("PortBindings").and_then(Value::as_object_mut) {
        ports.retain(|_, bindings| !bindings.is_null());
    }
    // It shows both, and takes one or the other.
    if host_config.get("NanoCpus").and_then(Value::as_i64).is_some_and(|cpus| cpus != 0) {
        host_config.remove("CpuPeriod");
        host_config.remove("CpuQuota");
    }
    if host_config.get("Runtime").and_then(Value::as_str) == Some(DEFAULT_RUNTIME) {
        host_config.remove("Runtime");
    }
    Ok(())
}

fn translate_limits(
    container: &Place<'_>,
    host_config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    for limit in container.path(&["HostConfig", "Ulimits"])?.elements()? {
        limit.field("Name")?.string()?;
    }
    let limits = host_config.get_mut("Ulimits").and_then(Value::as_array_mut);
    for limit in limits.into_iter().flatten() {
        let Some(name) = limit.get("Name").and_then(Value::as_str) else { continue };
        if let Some(short) = name.strip_prefix(LIMIT_PREFIX) {
            limit["Name"] = Value::String(short.to_lowercase());
        }
    }
    Ok(())
}
