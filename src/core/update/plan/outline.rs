//! The parts of a plan that may be shown: everything but the containers' configuration, because
//! their environment may be only in the journal of a running update.

use std::time::Duration;

use super::{ImageUpdate, Member, Plan};
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;

/// What a plan does with one container that gets a new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub subject: Subject,
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
    /// The dependents that are recreated with it.
    pub dependents: Vec<String>,
}

impl Outline {
    /// The outlines of a plan: one for each container that gets a new image.
    #[must_use]
    pub fn all_of(plan: &Plan) -> Vec<Self> {
        plan.changed().map(|(_, member, update)| Self::of(plan, member, update)).collect()
    }

    fn of(plan: &Plan, member: &Member, update: &ImageUpdate) -> Self {
        let layers = &update.to.layers;
        Self {
            subject: Subject::container(&member.container),
            image: member.image.clone(),
            from: update.from.digest.clone(),
            to: update.to.index.clone(),
            layers: layers.len(),
            bytes: layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            stop_timeout: member.stop_timeout,
            stop_signal: member.stop_signal.clone(),
            images_keep: update.images_keep,
            dependents: plan.dependent_names(),
        }
    }
}
