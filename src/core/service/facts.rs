//! What is known of a service, from its raw document. Nothing of the document is written back from
//! here: changes are made in the raw specification (`spec.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::core::docker::inspect::text;
use crate::core::docker::reference::{Digest, Reference};
use crate::core::policy::health_policy::Healthcheck;
use crate::core::service::constraint::{Constraint, PlacedPlatform};
use crate::core::service::labels;
use crate::core::service::node::SwarmNode;
use crate::core::service::task::{HostPort, SwarmTask};
use crate::core::update::healthcheck;

/// How long Swarm gives a container to stop, if the service does not say (swarmkit,
/// `agent/exec/controller.go`).
const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(10);

/// What Swarm says of a rollback that a client asked for, until it is complete (swarmkit,
/// `manager/controlapi/service.go`). Of its own it says which task failed.
const PERSONS_ROLLBACK: &str = "manually requested rollback";

/// What kind of service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMode {
    /// One task on each node that its constraints allow.
    Global,
    /// So many tasks.
    Replicated(u64),
    /// Its tasks run once and end. Any change of its specification runs it again.
    Job,
    /// Not a service of containers, or a mode that this program does not know.
    Other,
}

/// Where the Swarm stands with the last change of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateState {
    /// It was not updated, or the change restarted nothing, or Swarm has not begun yet.
    None,
    Updating,
    /// A task failed, and Swarm waits for a person.
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
    /// A word that this program does not know.
    Unknown,
}

impl UpdateState {
    fn read(word: &str) -> Self {
        match word {
            "" => Self::None,
            "updating" => Self::Updating,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "rollback_started" => Self::RollbackStarted,
            "rollback_paused" => Self::RollbackPaused,
            "rollback_completed" => Self::RollbackCompleted,
            _ => Self::Unknown,
        }
    }

    /// Whether Swarm has begun, by itself, to go back to the specification before.
    #[must_use]
    pub const fn is_rollback(self) -> bool {
        matches!(self, Self::RollbackStarted | Self::RollbackPaused | Self::RollbackCompleted)
    }
}

/// One slot of a service: the place of one task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskSlot {
    /// The node with this ID.
    Node(String),
    /// The replica with this number.
    Replica(u64),
}

/// What is known of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFacts {
    pub id: String,
    pub name: String,
    /// The version of the document, which guards a change.
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    pub mode: ServiceMode,
    /// The image as in the specification.
    pub image: String,
    /// `UpdateConfig` as the user wrote it; `None` if the user wrote none.
    pub update_config: Option<Value>,
    /// `RollbackConfig`, likewise.
    pub rollback_config: Option<Value>,
    pub host_ports: Vec<HostPort>,
    pub constraints: Vec<Option<Constraint>>,
    pub platforms: Vec<PlacedPlatform>,
    pub stop_grace: Duration,
    pub healthcheck: Option<Healthcheck>,
    pub state: UpdateState,
    /// Whether a person asked for the rollback that is on its way (`docker service rollback`).
    pub is_persons_rollback: bool,
}

impl ServiceFacts {
    /// Reads a document of `GET /services`. `None`: it is no service.
    #[must_use]
    pub fn read(service: &Value) -> Option<Self> {
        let spec = service.get("Spec")?;
        let owned = |document, pointer| text(document, pointer).to_owned();
        let list =
            |pointer: &str| spec.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let id = owned(service, "/ID");
        (!id.is_empty()).then(|| Self {
            id,
            name: owned(spec, "/Name"),
            version: service.pointer("/Version/Index").and_then(Value::as_u64).unwrap_or(0),
            labels: labels(spec, "/Labels"),
            mode: mode(spec),
            image: owned(spec, "/TaskTemplate/ContainerSpec/Image"),
            update_config: spec.get("UpdateConfig").filter(|it| it.is_object()).cloned(),
            rollback_config: spec.get("RollbackConfig").filter(|it| it.is_object()).cloned(),
            host_ports: HostPort::read_all(spec.pointer("/EndpointSpec/Ports")),
            constraints: list("/TaskTemplate/Placement/Constraints")
                .map(|it| it.as_str().and_then(Constraint::parse))
                .collect(),
            platforms: list("/TaskTemplate/Placement/Platforms")
                .map(PlacedPlatform::read)
                .collect(),
            stop_grace: spec
                .pointer("/TaskTemplate/ContainerSpec/StopGracePeriod")
                .and_then(Value::as_u64)
                .map_or(STOP_GRACE_DEFAULT, Duration::from_nanos),
            healthcheck: spec.pointer("/TaskTemplate/ContainerSpec").and_then(healthcheck::of_body),
            state: UpdateState::read(text(service, "/UpdateStatus/State")),
            is_persons_rollback: text(service, "/UpdateStatus/Message") == PERSONS_ROLLBACK,
        })
    }

    /// The image, parsed. `None`: it is no reference, such as the ID of an image.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        self.image.parse().ok()
    }

    /// The digest that the specification names. Without one every node resolves the tag for
    /// itself, whenever it starts a task.
    #[must_use]
    pub fn pinned_digest(&self) -> Option<Digest> {
        self.reference()?.digest
    }

    /// Whether a node meets its constraints, now or when it is back.
    #[must_use]
    pub fn may_use(&self, node: &SwarmNode) -> bool {
        let is_met = |it: &Option<Constraint>| {
            it.as_ref().is_some_and(|constraint| constraint.is_met_by(node))
        };
        self.constraints.iter().all(is_met)
    }

    /// Whether a node has one of its platforms. A service without platforms runs everywhere.
    #[must_use]
    pub fn has_platform_for(&self, node: &SwarmNode) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|platform| platform.fits(node))
    }

    /// The nodes that get tasks of it now.
    pub fn eligible<'a>(
        &'a self,
        nodes: &'a [SwarmNode],
    ) -> impl Iterator<Item = &'a SwarmNode> + 'a {
        nodes
            .iter()
            .filter(|node| node.takes_tasks() && self.may_use(node) && self.has_platform_for(node))
    }

    /// The nodes that may run it, but that no update reaches now, each with the reason.
    #[must_use]
    pub fn nodes_away(&self, nodes: &[SwarmNode]) -> Vec<String> {
        let may_use = nodes.iter().filter(|node| self.may_use(node));
        may_use.filter_map(|node| Some(format!("{} is {}", node.name(), node.away()?))).collect()
    }

    /// The places where a task must run.
    #[must_use]
    pub fn slots(&self, nodes: &[SwarmNode]) -> Vec<TaskSlot> {
        match self.mode {
            ServiceMode::Global => {
                self.eligible(nodes).map(|node| TaskSlot::Node(node.id.clone())).collect()
            }
            ServiceMode::Replicated(replicas) => (1..=replicas).map(TaskSlot::Replica).collect(),
            ServiceMode::Job | ServiceMode::Other => Vec::new(),
        }
    }

    /// The place of a task.
    #[must_use]
    pub fn slot_of(&self, task: &SwarmTask) -> TaskSlot {
        match self.mode {
            ServiceMode::Replicated(_) => TaskSlot::Replica(task.slot),
            _ => TaskSlot::Node(task.node_id.clone()),
        }
    }
}

fn mode(spec: &Value) -> ServiceMode {
    let has = |field: &str| spec.pointer(field).is_some_and(Value::is_object);
    let is_of_containers = has("/TaskTemplate/ContainerSpec");
    if has("/Mode/ReplicatedJob") || has("/Mode/GlobalJob") {
        ServiceMode::Job
    } else if !is_of_containers {
        ServiceMode::Other
    } else if has("/Mode/Global") {
        ServiceMode::Global
    } else if has("/Mode/Replicated") {
        let replicas = spec.pointer("/Mode/Replicated/Replicas").and_then(Value::as_u64);
        ServiceMode::Replicated(replicas.unwrap_or(1))
    } else {
        ServiceMode::Other
    }
}
