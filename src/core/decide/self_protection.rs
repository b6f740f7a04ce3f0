//! The containers that the agent needs itself: its own, and a proxy in front of the Engine.

use std::net::IpAddr;

use serde_json::Value;

use super::{Circumstances, EngineEndpoint, No};
use crate::core::decide::observation::Observation;
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::recreate::self_update_helper;

/// The agent's own container needs a self-update helper. A container that may be the agent's is not
/// touched at all, because an agent cannot stop itself and continue.
pub(super) fn itself(
    observation: &Observation,
    original: &Value,
    circumstances: &Circumstances,
) -> Result<(), No> {
    let cannot = |detail: String| No::new(Reason::CannotHandOver, detail);
    if observation.is_self {
        let checked = self_update_helper::check(original, &circumstances.state_dir);
        return checked.map_err(|error| cannot(error.to_string()));
    }
    let joined = inspect::text(original, "/HostConfig/NetworkMode").strip_prefix("container:");
    if joined.is_some() && joined == circumstances.own_container.as_deref() {
        let detail = "HostConfig.NetworkMode joins the network of another container, so that the \
                      agent cannot tell whether it runs in this one";
        return Err(cannot(detail.to_owned()));
    }
    Ok(())
}

/// The agent cannot replace a proxy through which it reaches the Engine: once the proxy is stopped,
/// the agent cannot start the next one.
pub(super) fn engine_access(original: &Value, circumstances: &Circumstances) -> Result<(), No> {
    let Some(endpoint) = &circumstances.engine_endpoint else { return Ok(()) };
    if !is_reached_at(original, endpoint) {
        return Ok(());
    }
    let EngineEndpoint { host, port } = endpoint;
    let name = inspect::name(original);
    let detail = format!("the agent reaches the Engine through {name} ({host}:{port})");
    Err(No::new(Reason::CannotRecreate, detail))
}

/// Whether a container listens at that address: by one of its names or addresses, or by a port that
/// is published on this machine.
fn is_reached_at(container: &Value, endpoint: &EngineEndpoint) -> bool {
    let host = endpoint.host.as_str();
    if host.is_empty() {
        return false;
    }
    if host == inspect::name(container) || host == inspect::text(container, "/Config/Hostname") {
        return true;
    }
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let is_in = |network: &Value| {
        let aliases = network.get("Aliases").and_then(Value::as_array);
        let mut aliases = aliases.into_iter().flatten().filter_map(Value::as_str);
        aliases.any(|alias| alias == host)
            || ["/IPAddress", "/GlobalIPv6Address"]
                .iter()
                .any(|pointer| inspect::text(network, pointer) == host)
    };
    if networks.into_iter().flatten().any(|(_, network)| is_in(network)) {
        return true;
    }
    let is_here = host == "localhost" || host.parse().is_ok_and(|it: IpAddr| it.is_loopback());
    let ports = container.pointer("/HostConfig/PortBindings").and_then(Value::as_object);
    let bindings = ports.into_iter().flatten().filter_map(|(_, bindings)| bindings.as_array());
    let port = endpoint.port.to_string();
    is_here && bindings.flatten().any(|binding| inspect::text(binding, "/HostPort") == port)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_proxy_is_known_by_its_names_its_addresses_and_its_published_port() {
        let proxy = json!({
            "Name": "/shop-socket-proxy-1",
            "Config": { "Hostname": "proxy" },
            "HostConfig": { "PortBindings": { "2375/tcp": [{ "HostIp": "", "HostPort": "2375" }] } },
            "NetworkSettings": { "Networks": { "socket": {
                "Aliases": ["socket-proxy"], "IPAddress": "172.20.0.2", "GlobalIPv6Address": "",
            } } },
        });
        for (host, port, expected) in [
            ("shop-socket-proxy-1", 2375, true),
            ("proxy", 2375, true),
            ("socket-proxy", 2375, true),
            ("172.20.0.2", 2375, true),
            ("127.0.0.1", 2375, true),
            ("localhost", 2375, true),
            ("127.0.0.1", 2376, false),
            ("172.20.0.3", 2375, false),
            ("engine", 2375, false),
            ("", 2375, false),
        ] {
            let endpoint = EngineEndpoint { host: host.into(), port };
            assert_eq!(is_reached_at(&proxy, &endpoint), expected, "{host}:{port}");
        }
        assert!(!is_reached_at(&json!({}), &EngineEndpoint { host: "proxy".into(), port: 1 }));
    }
}
