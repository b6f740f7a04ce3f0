//! The parts of a planned update that a person wants to see before it is carried out.

use std::time::Duration;

use crate::core::docker::reference::Digest;
use crate::core::service::facts::ServiceFacts;
use crate::core::service::node::SwarmNode;
use crate::core::service::plan::ServicePlan;
use crate::core::service::update_config;
use crate::core::subject::Subject;

/// The parts of a plan that may be shown: neither the specification nor its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOutline {
    pub subject: Subject,
    /// The image as the specification names it.
    pub image: String,
    /// The digest that runs, or that counts as the running one.
    pub from: Digest,
    /// The digest that shall run.
    pub to: Digest,
    /// The names of the nodes that pull the image before any task is stopped.
    pub nodes: Vec<String>,
    /// `stop-first` or `start-first`.
    pub order: String,
    /// How many tasks Swarm replaces at the same time; 0: all.
    pub parallelism: u64,
    /// The pause between two steps of Swarm.
    pub delay: Duration,
    /// How long each new task must run.
    pub stable: Duration,
    /// Whether Swarm itself goes back after a failed task. Otherwise the agent does, because the
    /// specification names no digest.
    pub swarm_goes_back: bool,
}

impl ServiceOutline {
    /// The outline of a plan for a service on these nodes.
    #[must_use]
    pub fn of(plan: &ServicePlan, facts: &ServiceFacts, nodes: &[SwarmNode]) -> Self {
        let pace = update_config::pace(&plan.update_config);
        Self {
            subject: plan.subject(),
            image: plan.image.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            nodes: facts.eligible(nodes).map(SwarmNode::name).collect(),
            order: pace.order,
            parallelism: pace.parallelism,
            delay: pace.delay,
            stable: plan.stable,
            swarm_goes_back: plan.is_pinned(),
        }
    }
}
