//! Podman's differences (tried with 4.3): values that its Docker API shows in another form than it
//! accepts, and values that it does not show at all.

use serde_json::{Map, Value};

use crate::core::docker::signal;
use crate::core::recreate::json_path::JsonPath;
use crate::core::recreate::networks::shares_network;
use crate::core::recreate::{CannotRecreate, automatic_hostname};

/// The field of the inspect document in which the adapter stores Podman's own report on the
/// container. All containers of Podman have it, and no others.
pub const LIBPOD: &str = "Libpod";

/// Podman's default network, which Docker's API calls `bridge`.
const DEFAULT_NETWORK: &str = "podman";

/// How the service for Docker's API was started. Podman records this command in its containers.
const SERVICE: [&str; 2] = ["system", "service"];

/// Settings that Podman's own API knows and Docker's create does not.
const PODMANS_ALONE: [&[&str]; 3] = [&["Pod"], &["Config", "Secrets"], &["Config", "Timezone"]];

/// Podman's defaults for a health check, in nanoseconds.
const HEALTH_DEFAULTS: [(&str, u64); 2] =
    [("Interval", 30_000_000_000), ("Timeout", 30_000_000_000)];

/// Prefix of limit names in Podman's inspect; create takes them without it.
const LIMIT_PREFIX: &str = "RLIMIT_";

/// Variables that Podman adds to every environment.
const PODMANS_OWN: [&str; 2] = ["container=podman", "TERM=xterm"];

/// Podman's name for the runtime if the user chose none.
const DEFAULT_RUNTIME: &str = "oci";

/// Refuses settings that would be lost because Podman does not show or does not accept them.
pub(super) fn refuse(container: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    let own = container.field(LIBPOD)?;
    if own.value().is_none() {
        return Ok(());
    }
    let command = own.path(&["Config", "CreateCommand"])?;
    if !command.strings()?.windows(SERVICE.len()).any(|words| words == SERVICE) {
        let why = "is not of Podman's service: what the `podman` command makes has settings that \
                   Docker's API does not take";
        return Err(command.refuse(why));
    }
    for path in PODMANS_ALONE {
        let setting = own.path(path)?;
        if setting.value().is_some_and(|value| !is_empty(value)) {
            return Err(setting.refuse("is set, and Docker's API does not take it"));
        }
    }
    refuse_untold_rights(container)?;
    refuse_untold_addresses(container)
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// The rights of a container to a device are not shown, and create does not accept them.
fn refuse_untold_rights(container: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    for device in container.path(&["HostConfig", "Devices"])?.elements()? {
        let rights = device.field("CgroupPermissions")?;
        if rights.optional_string()?.unwrap_or_default().is_empty() {
            return Err(
                rights.refuse("is not shown by Podman: the rights to the device would be lost")
            );
        }
    }
    Ok(())
}

/// A requested address looks like one that Podman chose. Requesting the present address would work
/// now, but after a restart another container may have it, and the service could not start. On its
/// default network Docker's API knows no fixed addresses.
fn refuse_untold_addresses(container: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    if shares_network(container.path(&["HostConfig", "NetworkMode"])?.string()?) {
        return Ok(());
    }
    let networks = container.path(&["NetworkSettings", "Networks"])?;
    for network in networks.optional_object()?.into_iter().flat_map(Map::keys) {
        let addresses = networks.field(network)?.field("IPAMConfig")?;
        if network != DEFAULT_NETWORK && addresses.value().is_none() {
            return Err(addresses.refuse("is not shown by Podman: a fixed address would be lost"));
        }
    }
    Ok(())
}

/// Requests the present MAC addresses, because Podman does not show which were requested. A lost
/// address does harm, a kept one does not.
pub(super) fn keep_mac_addresses(
    container: &JsonPath<'_>,
    endpoints: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    const FIELD: &str = "MacAddress";
    if container.field(LIBPOD)?.value().is_none() {
        return Ok(());
    }
    let networks = container.path(&["NetworkSettings", "Networks"])?;
    for (network, endpoint) in endpoints {
        let address = networks.field(network)?.field(FIELD)?.optional_string()?;
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            endpoint[FIELD] = address.into();
        }
    }
    Ok(())
}

/// Translates Podman's inspect into values for create. A document of Docker's Engine is not
/// changed.
pub(super) fn translate(
    container: &JsonPath<'_>,
    image: &JsonPath<'_>,
    config: &mut Map<String, Value>,
    host_config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    translate_limits(container, host_config)?;
    if container.field(LIBPOD)?.value().is_none() {
        return Ok(());
    }
    translate_health_check(container, image, config)?;
    follow_image(image, config)?;
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
    // Podman shows both, and accepts only one of them.
    if host_config.get("NanoCpus").and_then(Value::as_i64).is_some_and(|cpus| cpus != 0) {
        host_config.remove("CpuPeriod");
        host_config.remove("CpuQuota");
    }
    if host_config.get("Runtime").and_then(Value::as_str) == Some(DEFAULT_RUNTIME) {
        host_config.remove("Runtime");
    }
    Ok(())
}

/// Podman merges nothing into a health check: the whole of it is the image's or the user's.
fn translate_health_check(
    container: &JsonPath<'_>,
    image: &JsonPath<'_>,
    config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    const FIELD: &str = "Healthcheck";
    let whole = container.path(&["Config", FIELD])?;
    let Some(check) = whole.optional_object()? else { return Ok(()) };
    let mut of_image = image.path(&["Config", FIELD])?.optional_object()?.cloned();
    for (field, nanoseconds) in HEALTH_DEFAULTS {
        if let Some(of_image) = &mut of_image {
            of_image.entry(field).or_insert_with(|| nanoseconds.into());
        }
    }
    if of_image.as_ref() == Some(check) {
        config.remove(FIELD);
    } else {
        config.insert(FIELD.to_owned(), check.clone().into());
    }
    Ok(())
}

/// Leaves out the image's values that Podman shows in another form: the stop signal as a number,
/// and the defaults for values that the image does not set.
fn follow_image(
    image: &JsonPath<'_>,
    config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    const DEFAULTS: [(&str, &str); 2] = [("StopSignal", "SIGTERM"), ("WorkingDir", "/")];
    for (field, default) in DEFAULTS {
        let of_image = image.path(&["Config", field])?.optional_string()?.unwrap_or_default();
        let of_image = if of_image.is_empty() { default } else { of_image };
        let shown = config.get(field).and_then(Value::as_str);
        let is_signal = |shown: &str| {
            let number = signal::number(of_image).map(|number| number.to_string());
            field == "StopSignal" && number.as_deref() == Some(shown)
        };
        if shown.is_some_and(|shown| shown == of_image || is_signal(shown)) {
            config.remove(field);
        }
    }
    Ok(())
}

fn translate_limits(
    container: &JsonPath<'_>,
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
