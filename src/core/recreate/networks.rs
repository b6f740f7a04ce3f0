//! The networks of a container: the requested settings, without the Engine's values.

use serde_json::{Map, Value};

use crate::core::docker::api_version::ApiVersion;
use crate::core::recreate::json_path::JsonPath;
use crate::core::recreate::{CannotRecreate, NetworkEndpoint, automatic_hostname, or_empty};

/// State fields of an endpoint. All others are settings, known or not.
pub(super) const STATE_OF_AN_ENDPOINT: [&str; 10] = [
    "DNSNames",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
    "NetworkID",
];

/// The name under which the Engine lists its default network.
const DEFAULT_BRIDGE: &str = "bridge";

/// The networks of the new container.
pub(super) struct Attached {
    /// `NetworkingConfig.EndpointsConfig` of the create body.
    pub(super) at_create: Map<String, Value>,
    /// Networks to connect to after create.
    pub(super) later: Vec<NetworkEndpoint>,
}

/// The networks to request, all at create if the Engine's API allows it.
pub(super) fn endpoints(
    container: &JsonPath<'_>,
    api: ApiVersion,
) -> Result<Attached, CannotRecreate> {
    let mode = container.path(&["HostConfig", "NetworkMode"])?.string()?;
    let networks = container.path(&["NetworkSettings", "Networks"])?;
    let is_disabled = container.path(&["Config", "NetworkDisabled"])?.value() == Some(&true.into());
    if is_disabled || shares_network(mode) {
        return Ok(Attached { at_create: Map::new(), later: Vec::new() });
    }
    let main = main_network(mode, &networks)?;
    let mut all = Vec::new();
    for network in networks.object()?.keys() {
        let endpoint = networks.field(network)?;
        let is_main = main == Some(network.as_str());
        let config = settings(container, network, &endpoint, api, is_main)?;
        all.push(NetworkEndpoint { network: network.clone(), config });
    }
    if all.is_empty() {
        return Err(networks.refuse("is empty: create would connect the container to a network"));
    }
    all.sort_by_key(|endpoint| main != Some(endpoint.network.as_str()));
    let later = if api >= ApiVersion::V1_44 { Vec::new() } else { all.split_off(1) };
    let at_create = all.into_iter().map(|endpoint| (endpoint.network, endpoint.config)).collect();
    Ok(Attached { at_create, later })
}

/// `host`, `none` and `container:…` have no settings in their endpoint.
pub(super) fn shares_network(mode: &str) -> bool {
    matches!(mode, "host" | "none") || mode.starts_with("container:")
}

/// The network that `NetworkMode` means, by name or ID. `None` if the container was disconnected
/// from that network: it must not be connected again.
fn main_network<'a>(
    mode: &str,
    networks: &JsonPath<'a>,
) -> Result<Option<&'a str>, CannotRecreate> {
    let wanted = if mode == "default" { DEFAULT_BRIDGE } else { mode };
    let names = networks.object()?;
    if let Some((name, _)) = names.get_key_value(wanted) {
        return Ok(Some(name));
    }
    for name in names.keys() {
        let id = networks.field(name)?.field("NetworkID")?.optional_string()?;
        if !wanted.is_empty() && id.is_some_and(|id| id.starts_with(wanted)) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The settings of one endpoint.
fn settings(
    container: &JsonPath<'_>,
    network: &str,
    endpoint: &JsonPath<'_>,
    api: ApiVersion,
    is_main: bool,
) -> Result<Value, CannotRecreate> {
    let mut config = or_empty(Some(endpoint.object()?));
    config.retain(|key, _| !STATE_OF_AN_ENDPOINT.contains(&key.as_str()));
    let aliases = aliases(container, endpoint, api)?;
    // The default bridge has no aliases, and the Engine refuses even those it shows.
    if network == DEFAULT_BRIDGE || aliases.is_empty() {
        config.remove("Aliases");
    } else {
        config.insert("Aliases".to_owned(), aliases.into());
    }
    if let Some(address) = mac_address(container, endpoint, api, is_main)? {
        config.insert("MacAddress".to_owned(), Value::String(address));
    }
    Ok(Value::Object(config))
}

/// The user's aliases, without the short ID and the host name that Engines before 25 add.
fn aliases(
    container: &JsonPath<'_>,
    endpoint: &JsonPath<'_>,
    api: ApiVersion,
) -> Result<Vec<String>, CannotRecreate> {
    let id = container.field("Id")?.string()?;
    let hostname = container.path(&["Config", "Hostname"])?.optional_string()?;
    let added = hostname.filter(|_| api < ApiVersion::V1_44);
    let aliases = endpoint.field("Aliases")?.strings()?;
    let is_users = |alias: &&str| *alias != automatic_hostname(id) && Some(*alias) != added;
    Ok(aliases.into_iter().filter(is_users).map(str::to_owned).collect())
}

/// The MAC address to request in this endpoint; below API 1.44 it stays in `Config`.
///
/// An endpoint shows its address, whether it was requested or not. For the main network `Config`
/// shows which (until API 1.51), for another one nothing does: the address is kept unless it is
/// clearly made from the IP address, because a lost address does harm and a kept one does not.
fn mac_address(
    container: &JsonPath<'_>,
    endpoint: &JsonPath<'_>,
    api: ApiVersion,
    is_main: bool,
) -> Result<Option<String>, CannotRecreate> {
    let asked_for = container.path(&["Config", "MacAddress"])?.optional_string()?;
    let shown = endpoint.field("MacAddress")?.optional_string()?;
    let ip = endpoint.field("IPAddress")?.optional_string()?.unwrap_or_default();
    if api < ApiVersion::V1_44 {
        return Ok(None);
    }
    let address = if is_main && api <= ApiVersion::V1_51 { asked_for } else { shown };
    let is_users = |address: &&str| !address.is_empty() && !is_made_from(ip, address);
    Ok(address.filter(is_users).map(str::to_owned))
}

/// Whether the Engine (before 28) made this address: `02:42` and the four bytes of the IP address.
fn is_made_from(ip: &str, mac_address: &str) -> bool {
    let Ok(ip) = ip.parse::<std::net::Ipv4Addr>() else { return false };
    let [a, b, c, d] = ip.octets();
    mac_address.eq_ignore_ascii_case(&format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}
