//! What a dry run says about an update that would be carried out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;
use crate::core::docker::reference::Digest;
use crate::core::policy::group::Meanwhile;
use crate::core::service::outline::ServiceOutline;
use crate::core::subject::Subject;
use crate::core::update::plan::{ChangeOutline, JobOutline, Outline};

/// The words for the two orders in which a container is replaced.
const STOP_FIRST: &str = "stop-first";
const START_FIRST: &str = "start-first";

/// A planned update of one container, without its configuration: its environment may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRow {
    pub container: String,
    /// The group that it is updated with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
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
    /// `stop-first` or `start-first`.
    #[serde(default)]
    pub order: String,
    /// How long the old and the new container would serve at the same time.
    #[serde(rename = "drain_seconds", default, with = "seconds")]
    pub drain: Duration,
    /// How long the old container may take to stop.
    #[serde(rename = "stop_timeout_seconds", with = "seconds")]
    pub stop_timeout: Duration,
    /// The signal that stops it, if it is not the container's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How many previous images stay on disk.
    pub images_keep: u32,
    /// The containers whose pre-update hooks would run first; for a group they are in its own row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// The dependents that would be recreated with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<String>,
}

impl PlanRow {
    /// The rows of a plan: one for each container that would get a new image.
    #[must_use]
    pub fn all_of(outline: &Outline) -> Vec<Self> {
        outline.changes.iter().map(|change| Self::of(outline, change)).collect()
    }

    /// Whether the new container would prove itself while the old one serves.
    #[must_use]
    pub fn starts_first(&self) -> bool {
        self.order == START_FIRST
    }

    fn of(outline: &Outline, change: &ChangeOutline) -> Self {
        let group = outline.subject.group_name().map(str::to_owned);
        let order = if outline.strategy.starts_first() { START_FIRST } else { STOP_FIRST };
        Self {
            container: change.container.clone(),
            image: change.image.clone(),
            from: change.from.clone(),
            to: change.to.clone(),
            layers: change.layers,
            bytes: change.bytes,
            order: order.to_owned(),
            drain: outline.strategy.drain(),
            stop_timeout: change.stop_timeout,
            stop_signal: change.stop_signal.clone(),
            images_keep: change.images_keep,
            hooks: if group.is_some() { Vec::new() } else { outline.hooks.clone() },
            dependents: outline.dependents.clone(),
            group,
        }
    }
}

/// A planned update of a group, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlanRow {
    pub group: String,
    /// The containers whose pre-update hooks would run before anything is touched, in this order.
    pub hooks: Vec<String>,
    /// The one-shots that would run before the members are replaced, in this order.
    pub jobs: Vec<JobRow>,
    /// The members in the order in which they would start. They stop in the reverse order.
    pub starts: Vec<String>,
}

/// A one-shot of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    pub container: String,
    /// How long it may run.
    #[serde(rename = "timeout_seconds", with = "seconds")]
    pub timeout: Duration,
    /// What the members do meanwhile: `running` or `stopped`.
    pub meanwhile: Meanwhile,
}

impl GroupPlanRow {
    /// The row of a plan, if it is that of a group.
    #[must_use]
    pub fn of(outline: &Outline) -> Option<Self> {
        Some(Self {
            group: outline.subject.group_name()?.to_owned(),
            hooks: outline.hooks.clone(),
            jobs: outline.jobs.iter().map(JobRow::from).collect(),
            starts: outline.starts.clone(),
        })
    }
}

impl From<&JobOutline> for JobRow {
    fn from(job: &JobOutline) -> Self {
        let JobOutline { container, timeout, meanwhile } = job.clone();
        Self { container, timeout, meanwhile }
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
