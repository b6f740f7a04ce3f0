//! The parts of a plan that may be shown: everything but the containers' configuration, because
//! their environment may be only in the journal of a running update.

use std::time::Duration;

use super::{ImageUpdate, Job, Member, Plan, Strategy};
use crate::core::docker::reference::Digest;
use crate::core::policy::group::Meanwhile;
use crate::core::subject::Subject;

/// What a plan does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub subject: Subject,
    /// How the new containers take over.
    pub strategy: Strategy,
    /// The containers whose pre-update hooks run before anything is touched, in this order.
    pub hooks: Vec<String>,
    /// The one-shots that run before the members are replaced, in this order.
    pub jobs: Vec<JobOutline>,
    /// The members in the order in which they start. They stop in the reverse order.
    pub starts: Vec<String>,
    /// The members that keep their image and are recreated with the others.
    pub dependents: Vec<String>,
    /// The containers that get a new image.
    pub changes: Vec<ChangeOutline>,
}

/// What a plan does with one container that gets a new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOutline {
    pub container: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The digest that runs, if it is known.
    pub from: Option<Digest>,
    /// The digest that shall run.
    pub to: Digest,
    /// The number of layers.
    pub layers: usize,
    /// Compressed size of the layers in bytes.
    pub bytes: u64,
    /// How long the old container may take to stop.
    pub stop_timeout: Duration,
    /// The signal that stops it, if it is not the container's own.
    pub stop_signal: Option<String>,
    /// How many previous images stay on disk.
    pub images_keep: u32,
}

/// A one-shot that runs before the members are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutline {
    pub container: String,
    /// How long it may run.
    pub timeout: Duration,
    /// What the members do meanwhile.
    pub meanwhile: Meanwhile,
}

impl Outline {
    /// The outline of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let changed = plan.changed();
        Self {
            subject: plan.subject(),
            strategy: plan.strategy,
            hooks: plan.pre_update_hooks().map(|(container, ..)| container.to_owned()).collect(),
            jobs: plan.jobs.iter().map(|job| JobOutline::of(plan, job)).collect(),
            starts: plan.members.iter().map(|member| member.container.clone()).collect(),
            dependents: plan.dependent_names(),
            changes: changed.map(|(_, member, update)| ChangeOutline::of(member, update)).collect(),
        }
    }
}

impl ChangeOutline {
    fn of(member: &Member, update: &ImageUpdate) -> Self {
        let layers = &update.to.layers;
        Self {
            container: member.container.clone(),
            image: member.image.clone(),
            from: update.from.digest.clone(),
            to: update.to.index.clone(),
            layers: layers.len(),
            bytes: layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            stop_timeout: member.stop_timeout,
            stop_signal: member.stop_signal.clone(),
            images_keep: update.images_keep,
        }
    }
}

impl JobOutline {
    /// One job that needs the members stopped stops them for all jobs.
    fn of(plan: &Plan, job: &Job) -> Self {
        let is_stopped = plan.stops_for_jobs();
        Self {
            container: job.member.container.clone(),
            timeout: job.timeout,
            meanwhile: if is_stopped { Meanwhile::Stopped } else { Meanwhile::Serving },
        }
    }
}
