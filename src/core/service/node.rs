//! A node of a Swarm.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::core::docker::inspect::{flag, text};
use crate::core::service::labels;

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Ready,
    /// It has left, or has been silent for longer than its heartbeats allow.
    Down,
    /// The leader does not know yet, because it has just become the leader.
    Unclear,
}

/// What an operator allows a node to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It gets tasks.
    Active,
    /// It keeps the tasks that it has, and its tasks are not updated.
    Pause,
    /// It gets no tasks and loses those that it has.
    Drain,
}

/// A node of a Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmNode {
    pub id: String,
    pub hostname: String,
    /// Its IP address, as the leader sees it.
    pub address: String,
    /// `worker` or `manager`.
    pub role: String,
    pub is_leader: bool,
    pub state: NodeState,
    pub availability: Availability,
    pub os: String,
    /// As the kernel says it: `x86_64`, `aarch64`, `armv7l`.
    pub architecture: String,
    pub labels: BTreeMap<String, String>,
    /// The labels of its Engine (`dockerd --label`).
    pub engine_labels: BTreeMap<String, String>,
}

impl SwarmNode {
    /// Reads a row of `GET /nodes`. `None`: it has no ID.
    #[must_use]
    pub fn read(node: &Value) -> Option<Self> {
        let owned = |pointer| text(node, pointer).to_owned();
        let id = owned("/ID");
        (!id.is_empty()).then(|| Self {
            id,
            hostname: owned("/Description/Hostname"),
            address: owned("/Status/Addr"),
            role: owned("/Spec/Role"),
            is_leader: flag(node, "/ManagerStatus/Leader"),
            state: match text(node, "/Status/State") {
                "ready" => NodeState::Ready,
                "down" | "disconnected" => NodeState::Down,
                _ => NodeState::Unclear,
            },
            availability: match text(node, "/Spec/Availability") {
                "pause" => Availability::Pause,
                "drain" => Availability::Drain,
                _ => Availability::Active,
            },
            os: owned("/Description/Platform/OS"),
            architecture: owned("/Description/Platform/Architecture"),
            labels: labels(node, "/Spec/Labels"),
            engine_labels: labels(node, "/Description/Engine/Labels"),
        })
    }

    /// The name for a person. Several nodes may have the same host name, so it contains the
    /// beginning of the ID.
    #[must_use]
    pub fn name(&self) -> String {
        let short: String = self.id.chars().take(7).collect();
        if self.hostname.is_empty() { short } else { format!("{} ({short})", self.hostname) }
    }

    /// Whether it takes new tasks now.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.state == NodeState::Ready && self.availability == Availability::Active
    }

    /// Why an update passes it by although it may run the service; `None` if the update reaches
    /// it, or if an operator has drained it.
    #[must_use]
    pub fn away(&self) -> Option<&'static str> {
        match (self.availability, self.state) {
            (Availability::Drain, _) | (Availability::Active, NodeState::Ready) => None,
            (Availability::Pause, NodeState::Ready) => Some("paused"),
            _ => Some("not reachable"),
        }
    }
}

/// All nodes of an answer.
#[must_use]
pub fn read_nodes(documents: &[Value]) -> Vec<SwarmNode> {
    documents.iter().filter_map(SwarmNode::read).collect()
}
