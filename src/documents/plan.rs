//! What a dry run says about an update that would be carried out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;
use crate::core::docker::reference::Digest;
use crate::core::service::outline::ServiceOutline;
use crate::core::subject::Subject;
use crate::core::update::plan::Outline;

/// A planned update, without the container's configuration: its environment may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    #[serde(flatten)]
    pub subject: Subject,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub from: Option<Digest>,
    /// The digest that would run.
    pub to: Digest,
    /// The number of layers.
    pub layers: usize,
    /// Compressed size of the layers.
    pub bytes: u64,
    /// How long the old container may take to stop.
    #[serde(rename = "stop_timeout_seconds", with = "seconds")]
    pub stop_timeout: Duration,
    /// The signal that stops it, if it is not the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The dependents that would be recreated with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
}

impl From<&Outline> for PlanRow {
    fn from(outline: &Outline) -> Self {
        Self {
            subject: outline.subject.clone(),
            image: outline.image.clone(),
            from: outline.from.clone(),
            to: outline.to.clone(),
            layers: outline.layers,
            bytes: outline.bytes,
            stop_timeout: outline.stop_timeout,
            stop_signal: outline.stop_signal.clone(),
            images_keep: outline.images_keep,
            dependents: outline.dependents.clone(),
        }
    }
}

/// A planned update of a service, without its specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlanRow {
    #[serde(flatten)]
    pub subject: Subject,
    /// The image as the specification names it.
    pub image: String,
    /// The digest that runs, or that counts as the running one.
    pub from: Digest,
    /// The digest that would run.
    pub to: Digest,
    /// The names of the nodes that would pull the image first.
    pub nodes: Vec<String>,
    /// `stop-first` or `start-first`.
    pub order: String,
    /// How many tasks would be replaced at the same time; 0: all.
    pub parallelism: u64,
    /// The pause between two steps.
    #[serde(rename = "delay_seconds", with = "seconds")]
    pub delay: Duration,
    /// How long each new task would have to run.
    #[serde(rename = "stable_seconds", with = "seconds")]
    pub stable: Duration,
    /// Whether Swarm itself would go back; otherwise the agent would.
    pub swarm_goes_back: bool,
}

impl From<&ServiceOutline> for ServicePlanRow {
    fn from(outline: &ServiceOutline) -> Self {
        Self {
            subject: outline.subject.clone(),
            image: outline.image.clone(),
            from: outline.from.clone(),
            to: outline.to.clone(),
            nodes: outline.nodes.clone(),
            order: outline.order.clone(),
            parallelism: outline.parallelism,
            delay: outline.delay,
            stable: outline.stable,
            swarm_goes_back: outline.swarm_goes_back,
        }
    }
}
