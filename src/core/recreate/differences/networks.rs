//! `NetworkSettings`: the same networks with the same settings; addresses only if they were
//! requested.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::core::recreate::differences::{Differences, is_collection, keys, short_id, texts};

/// Values from the Engine, in addition to the settings that are compared.
const GIVEN_BY_THE_ENGINE: [&str; 7] = [
    "EndpointID",
    "Gateway",
    "GlobalIPv6PrefixLen",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
    "NetworkID",
];

/// `NetworkSettings` outside of `Networks` repeats the default network and names the Engine's
/// resources; the ports come from `PortBindings` and `ExposedPorts`, which are compared.
pub(super) fn compare(before: &Value, after: &Value, found: &mut Differences) {
    let networks = |container: &Value| container["NetworkSettings"]["Networks"].clone();
    let (old, new) = (networks(before), networks(after));
    for network in keys(&old, &new) {
        let path = format!("NetworkSettings.Networks.{network}");
        let (endpoint, now) = (&old[network], &new[network]);
        if !(endpoint.is_object() && now.is_object()) {
            found.add(&path, endpoint, now);
            continue;
        }
        for key in keys(endpoint, now) {
            let path = format!("{path}.{key}");
            let is_kept = is_kept(key, (before, endpoint), (after, now));
            found.unless(is_kept, &path, &endpoint[key], &now[key]);
        }
    }
    compare_mac_addresses(before, &old, &new, found);
}

/// A container and one of its endpoints.
type End<'a> = (&'a Value, &'a Value);

fn is_kept(key: &str, (before, old): End<'_>, (after, new): End<'_>) -> bool {
    match key {
        _ if GIVEN_BY_THE_ENGINE.contains(&key) => true,
        "IPAddress" => is_address_kept("IPv4Address", key, old, new),
        "GlobalIPv6Address" => is_address_kept("IPv6Address", key, old, new),
        "Aliases" | "DNSNames" if is_collection(&new[key]) => {
            names(before, &old[key]) == names(after, &new[key])
        }
        _ => old[key] == new[key],
    }
}

/// A requested address must be there again, on a container that runs.
fn is_address_kept(asked_for: &str, key: &str, old: &Value, new: &Value) -> bool {
    let has_address = |endpoint: &Value| endpoint[key] != json!("");
    let is_static = old["IPAMConfig"][asked_for].as_str().is_some_and(|text| !text.is_empty());
    !is_static || !has_address(old) || !has_address(new) || old[key] == new[key]
}

/// The names of an endpoint without the short ID, which the Engine adds.
fn names<'a>(container: &Value, list: &'a Value) -> BTreeSet<&'a str> {
    texts(list).into_iter().filter(|name| *name != short_id(container)).collect()
}

/// A MAC address was requested if it is not locally administered, or if `Config` names it.
fn compare_mac_addresses(before: &Value, old: &Value, new: &Value, found: &mut Differences) {
    let configured = &before["Config"]["MacAddress"];
    for network in keys(old, new) {
        let (address, now) = (&old[network]["MacAddress"], &new[network]["MacAddress"]);
        let text = address.as_str().unwrap_or_default();
        let first_byte = text.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let is_universal = first_byte.is_some_and(|byte| byte & 0b10 == 0);
        let is_asked_for = !text.is_empty() && (address == configured || is_universal);
        let path = format!("NetworkSettings.Networks.{network}.MacAddress");
        found.unless(!is_asked_for || now == address || *now == json!(""), &path, address, now);
    }
}
