//! A container that starts while the old one serves: its aliases come after it has proved itself.
//!
//! The Engine's DNS answers with all containers that have an alias, from their start on, and not
//! only when they are healthy. So the new container is created without the aliases. To give them,
//! the container leaves the network and is connected again: the Engine has no call that adds an
//! alias to a connection.

use serde_json::{Map, Value};

use crate::core::recreate::{NetworkEndpoint, Recreation};

/// The field of an endpoint that lists its names.
const ALIASES: &str = "Aliases";

/// The field of an endpoint with the address that both containers cannot have at the same time.
const MAC_ADDRESS: &str = "MacAddress";

/// The same container without what belongs to the service while the old one serves: its names, and
/// MAC addresses.
#[must_use]
pub fn beside(recreation: &Recreation) -> Recreation {
    let mut recreation = recreation.clone();
    let at_create = recreation.body.pointer_mut("/NetworkingConfig/EndpointsConfig");
    let at_create = at_create.and_then(Value::as_object_mut).into_iter();
    let at_create = at_create.flat_map(|all| all.values_mut());
    let later = recreation.connect.iter_mut().map(|endpoint| &mut endpoint.config);
    for config in at_create.chain(later).filter_map(Value::as_object_mut) {
        config.remove(ALIASES);
        config.remove(MAC_ADDRESS);
    }
    recreation
}

/// The networks in which the container has such names, with their settings: it is connected to each
/// of them again, when it shall serve.
#[must_use]
pub fn joins(recreation: &Recreation) -> Vec<NetworkEndpoint> {
    let at_create = recreation.body.pointer("/NetworkingConfig/EndpointsConfig");
    let none = Map::new();
    let at_create = at_create.and_then(Value::as_object).unwrap_or(&none).iter();
    let at_create = at_create.map(|(network, config)| NetworkEndpoint {
        network: network.clone(),
        config: config.clone(),
    });
    let has_names = |endpoint: &NetworkEndpoint| {
        let names = endpoint.config.get(ALIASES).and_then(Value::as_array);
        names.is_some_and(|names| !names.is_empty())
    };
    let all = at_create.chain(recreation.connect.iter().cloned()).filter(has_names);
    all.map(without_mac_address).collect()
}

fn without_mac_address(mut endpoint: NetworkEndpoint) -> NetworkEndpoint {
    if let Some(config) = endpoint.config.as_object_mut() {
        config.remove(MAC_ADDRESS);
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recreation() -> Recreation {
        Recreation {
            body: json!({
                "Image": "shop/api:1",
                "NetworkingConfig": { "EndpointsConfig": {
                    "front": {
                        "Aliases": ["api", "shop-api"],
                        "DriverOpts": { "a": "b" },
                        "MacAddress": "ce:15:9e:ed:72:d6",
                    },
                } },
            }),
            connect: vec![
                NetworkEndpoint { network: "back".into(), config: json!({ "Aliases": ["api"] }) },
                NetworkEndpoint { network: "bare".into(), config: json!({ "Aliases": null }) },
            ],
            platform: None,
        }
    }

    #[test]
    fn no_alias_is_asked_for_at_create() {
        let bare = beside(&recreation());
        let front = &bare.body["NetworkingConfig"]["EndpointsConfig"]["front"];
        assert_eq!(*front, json!({ "DriverOpts": { "a": "b" } }));
        assert_eq!(bare.body["Image"], "shop/api:1");
        assert!(bare.connect.iter().all(|endpoint| endpoint.config == json!({})));
        assert_eq!(bare.connect.len(), 2);
        assert!(joins(&bare).is_empty());
    }

    #[test]
    fn each_network_with_aliases_is_joined_with_all_its_settings() {
        let joins = joins(&recreation());
        let networks: Vec<_> = joins.iter().map(|join| join.network.as_str()).collect();
        assert_eq!(networks, ["front", "back"]);
        let front = json!({ "Aliases": ["api", "shop-api"], "DriverOpts": { "a": "b" } });
        assert_eq!(joins[0].config, front);
    }

    #[test]
    fn a_container_on_the_hosts_network_has_nothing_to_join() {
        let body = json!({ "NetworkingConfig": { "EndpointsConfig": {} } });
        let recreation = Recreation { body, connect: Vec::new(), platform: None };
        assert!(joins(&recreation).is_empty());
        assert_eq!(beside(&recreation), recreation);
    }
}
