//! The Engine's settings for registries from `/info`: mirrors, insecure registries, proxies.
//!
//! The Engine pulls with these settings, so the agent uses them too: both reach the same
//! registries.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

use crate::core::docker::reference::DOCKER_HUB;

/// Most entries that are read of each list. A `daemon.json` has a handful.
const ENTRIES_MAX: usize = 1000;

/// The Engine's settings for registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineRegistries {
    /// URLs that the Engine asks before Docker Hub (`registry-mirrors`).
    pub mirrors: Vec<String>,
    /// `HOST` or `HOST:PORT` of `insecure-registries`: no certificate is checked, and plain HTTP is
    /// used if there is no TLS.
    pub insecure_hosts: BTreeSet<String>,
    /// The networks among `insecure-registries`. `127.0.0.0/8` is always one of them.
    pub insecure_networks: Vec<Network>,
    /// The proxies for registries.
    pub proxies: Proxies,
}

/// Proxies as Docker and most programs write them. Each may be empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`.
    pub http: String,
    /// For `https://`.
    pub https: String,
    /// Hosts that are reached without a proxy, separated by commas.
    pub no_proxy: String,
}

/// Hides the URLs, because a proxy's URL may contain a login.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { http, https, no_proxy } = self;
        let is_set = |url: &str| if url.is_empty() { "none" } else { "set" };
        write!(formatter, "Proxies({}, {}, {no_proxy:?})", is_set(http), is_set(https))
    }
}

impl Proxies {
    /// Whether there is no proxy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.http.is_empty() && self.https.is_empty()
    }
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

/// A text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not ADDRESS/LENGTH")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = text.split_once('/').ok_or(NoNetwork)?;
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let length = length.parse().map_err(|_| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if length > most { Err(NoNetwork) } else { Ok(Self { address, length }) }
    }
}

impl Network {
    /// Whether an address is in the network. An IPv4-mapped IPv6 address counts as IPv4 (Go's
    /// `net.IPNet.Contains`).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl EngineRegistries {
    /// Reads an `/info` document (`RegistryConfig`, `HttpProxy`, …). Fields of another shape are
    /// ignored.
    #[must_use]
    pub fn of_info(info: &Value) -> Self {
        let text = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let networks = texts(info, "/RegistryConfig/InsecureRegistryCIDRs");
        Self {
            mirrors: texts(info, "/RegistryConfig/Mirrors").map(str::to_owned).collect(),
            insecure_hosts: insecure_hosts(info),
            insecure_networks: networks.filter_map(|text| text.parse().ok()).collect(),
            proxies: Proxies {
                http: text("HttpProxy"),
                https: text("HttpsProxy"),
                no_proxy: text("NoProxy"),
            },
        }
    }

    /// Whether a `HOST` or `HOST:PORT` is listed by name in `insecure-registries`.
    #[must_use]
    pub fn is_insecure_by_name(&self, host: &str) -> bool {
        self.insecure_hosts.contains(host)
    }

    /// Whether an address is in one of the insecure networks.
    #[must_use]
    pub fn is_insecure_by_address(&self, address: IpAddr) -> bool {
        self.insecure_networks.iter().any(|network| network.contains(address))
    }
}

fn texts<'a>(info: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    let list = info.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().take(ENTRIES_MAX).filter_map(Value::as_str)
}

/// The entries of `IndexConfigs` with `Secure: false`. Docker Hub is never one of them.
fn insecure_hosts(info: &Value) -> BTreeSet<String> {
    let all = info.pointer("/RegistryConfig/IndexConfigs").and_then(Value::as_object);
    let is_insecure = |config: &Value| config.get("Secure").and_then(Value::as_bool) == Some(false);
    let entries = all.into_iter().flatten().take(ENTRIES_MAX);
    let insecure = entries.filter(|(name, config)| *name != DOCKER_HUB && is_insecure(config));
    insecure.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_engine_tells_its_mirrors_and_its_insecure_registries() {
        let info = json!({ "RegistryConfig": {
            "Mirrors": ["https://mirror.gcr.io/", 7],
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/33", "fd00::/8", 1],
            "IndexConfigs": {
                "docker.io": { "Name": "docker.io", "Secure": false },
                "registry:5000": { "Name": "registry:5000", "Secure": false },
                "other": { "Secure": true },
                "odd": null,
            },
        }, "HttpProxy": "http://proxy:3128", "NoProxy": "lan" });
        let told = EngineRegistries::of_info(&info);
        assert_eq!(told.mirrors, ["https://mirror.gcr.io/"]);
        assert_eq!(told.insecure_hosts, BTreeSet::from(["registry:5000".to_owned()]));
        assert!(told.is_insecure_by_name("registry:5000"));
        assert!(!told.is_insecure_by_name("registry"));
        for (address, expected) in [
            ("127.3.4.5", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("fdab::1", true),
            ("fe80::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(told.is_insecure_by_address(address), expected, "{address}");
        }
        assert_eq!(told.proxies.http, "http://proxy:3128");
        assert_eq!((told.proxies.https.as_str(), told.proxies.no_proxy.as_str()), ("", "lan"));
    }

    #[test]
    fn an_engine_that_tells_nothing_is_no_trouble() {
        let nothing = EngineRegistries::default();
        for info in [
            json!({}),
            json!({ "RegistryConfig": null }),
            json!({ "RegistryConfig": { "Mirrors": null, "IndexConfigs": [] } }),
            Value::Null,
        ] {
            assert_eq!(EngineRegistries::of_info(&info), nothing);
        }
    }

    #[test]
    fn networks_of_every_length() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("192.168.0.0/23", "192.168.1.9"));
        assert!(!contains("192.168.0.0/24", "192.168.1.9"));
        assert!(contains("192.0.2.1/32", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        for wrong in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/-1", "x/8", "::/129"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
    }

    #[test]
    fn a_proxys_login_is_not_shown() {
        let http = "http://user:hunter2@proxy:3128".to_owned();
        let proxies = Proxies { http, ..Proxies::default() };
        assert_eq!(format!("{proxies:?}"), "Proxies(set, none, \"\")");
    }
}
