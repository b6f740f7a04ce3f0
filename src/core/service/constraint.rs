//! On which nodes a service may run: its constraints and its platforms.
//!
//! The rules are those of Swarm's scheduler (swarmkit, `manager/constraint` and
//! `manager/scheduler/filter.go`): values are compared without regard to case, a missing label is
//! an empty value, and an unknown key matches no node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::core::docker::engine_registries::Network;
use crate::core::docker::inspect::text;
use crate::core::docker::reference::Platform;
use crate::core::service::node::SwarmNode;

const NODE_LABELS: &str = "node.labels.";
const ENGINE_LABELS: &str = "engine.labels.";

/// One placement constraint: `node.labels.type == table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    key: String,
    value: String,
    is_equal: bool,
}

impl Constraint {
    /// Reads a constraint. `None`: it has no operator; no Engine accepts such a constraint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Swarm looks for `==` first, so a value may contain `!=`.
        let (is_equal, (key, value)) = match text.split_once("==") {
            Some(parts) => (true, parts),
            None => (false, text.split_once("!=")?),
        };
        Some(Self { key: key.trim().to_owned(), value: value.trim().to_owned(), is_equal })
    }

    /// Whether a node meets it.
    #[must_use]
    pub fn is_met_by(&self, node: &SwarmNode) -> bool {
        let found = match self.key.to_lowercase().as_str() {
            "node.id" => &node.id,
            "node.hostname" => &node.hostname,
            "node.role" => &node.role,
            "node.platform.os" => &node.os,
            "node.platform.arch" => &node.architecture,
            "node.ip" => return self.is_met_by_address(&node.address),
            key if is_label(key, NODE_LABELS) => label(&node.labels, &self.key, NODE_LABELS),
            key if is_label(key, ENGINE_LABELS) => {
                label(&node.engine_labels, &self.key, ENGINE_LABELS)
            }
            _ => return false,
        };
        (found.to_lowercase() == self.value.to_lowercase()) == self.is_equal
    }

    /// `node.ip` takes an address, or a network such as `10.1.0.0/16`. Any other value matches no
    /// node, with either operator.
    fn is_met_by_address(&self, address: &str) -> bool {
        let address: Option<IpAddr> = address.parse().ok();
        let is_inside = if let Ok(wanted) = self.value.parse::<IpAddr>() {
            address.is_some_and(|address| address.to_canonical() == wanted.to_canonical())
        } else if let Ok(network) = self.value.parse::<Network>() {
            address.is_some_and(|address| network.contains(address))
        } else {
            return false;
        };
        is_inside == self.is_equal
    }
}

fn is_label(key: &str, prefix: &str) -> bool {
    key.len() > prefix.len() && key.starts_with(prefix)
}

/// The value of a label. The name of a label is compared exactly, unlike everything else.
fn label<'a>(labels: &'a BTreeMap<String, String>, key: &str, prefix: &str) -> &'a str {
    let name = key.get(prefix.len()..).unwrap_or_default();
    labels.get(name).map_or("", String::as_str)
}

/// A platform in `Placement.Platforms`. What is empty fits every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPlatform {
    pub os: String,
    pub architecture: String,
}

impl PlacedPlatform {
    /// Reads an element of `Placement.Platforms`.
    #[must_use]
    pub fn read(platform: &Value) -> Self {
        Self {
            os: text(platform, "/OS").to_owned(),
            architecture: text(platform, "/Architecture").to_owned(),
        }
    }

    /// The form of an image's platform that Docker's own client gives to Swarm: an ARM image names
    /// no architecture, because nodes say `armv7l` (moby#34021), and no variant counts.
    #[must_use]
    pub fn of_image(platform: &Platform) -> Self {
        let architecture = match platform.architecture.as_str() {
            "arm" => String::new(),
            architecture => architecture.to_owned(),
        };
        Self { os: platform.os.clone(), architecture }
    }

    /// Whether images of this platform run on a node.
    #[must_use]
    pub fn fits(&self, node: &SwarmNode) -> bool {
        let is_os = self.os.is_empty() || self.os == node.os;
        let is_architecture = self.architecture.is_empty()
            || normal_architecture(&self.architecture) == normal_architecture(&node.architecture);
        is_os && is_architecture
    }
}

fn normal_architecture(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
#[path = "constraint_tests.rs"]
mod tests;
