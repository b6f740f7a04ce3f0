//! What a client asked for, until it is answered.

use crate::agent::handle::deployments::{DeploymentActEnd, LoadEnd};
use crate::agent::handle::question::{Answer, AskError, RollbackEnd};
use crate::core::decide::observation::{Observation, Readiness};
use crate::core::decide::offer::Offer;
use crate::core::deployment::Deployment;
use crate::core::update::history::Record;
use crate::core::update::plan::Plan;

/// The client that waits for the end of an update.
pub(in crate::agent) enum ClientAnswer {
    /// It pushed an image.
    Load(Answer<LoadEnd>),
    /// It asked for an act.
    Act(Answer<DeploymentActEnd>),
}

impl ClientAnswer {
    pub(in crate::agent) fn fail(self, error: AskError) {
        match self {
            Self::Load(answer) => _ = answer.send(Err(error)),
            Self::Act(answer) => _ = answer.send(Err(error)),
        }
    }

    /// The update has ended.
    pub(in crate::agent) fn ended(self, record: Box<Record>, image_id: String) {
        match self {
            Self::Load(answer) => _ = answer.send(Ok(LoadEnd::Ended { record, image_id })),
            Self::Act(answer) => _ = answer.send(Ok(DeploymentActEnd::Ended(record))),
        }
    }

    /// There was nothing to update.
    pub(in crate::agent) fn unchanged(self, image_id: String) {
        match self {
            Self::Load(answer) => _ = answer.send(Ok(LoadEnd::AlreadyRuns { image_id })),
            Self::Act(answer) => _ = answer.send(Ok(DeploymentActEnd::Done)),
        }
    }
}

/// A person or a client that waits for a rollback by hand.
pub(in crate::agent) enum RollbackAnswer {
    Person(Answer<RollbackEnd>),
    Client {
        /// The client, for the history.
        by: String,
        answer: Answer<DeploymentActEnd>,
    },
}

impl RollbackAnswer {
    pub(in crate::agent) fn by(&self) -> Option<&str> {
        match self {
            Self::Person(_) => None,
            Self::Client { by, .. } => Some(by),
        }
    }

    pub(in crate::agent) fn send(self, end: Result<RollbackEnd, AskError>) {
        match self {
            Self::Person(answer) => _ = answer.send(end),
            Self::Client { answer, .. } => {
                let end = end.map(|end| match end {
                    RollbackEnd::Ended(record) => DeploymentActEnd::Ended(record),
                    RollbackEnd::SelfUpdating { .. } => DeploymentActEnd::SelfUpdating,
                });
                let _ = answer.send(end);
            }
        }
    }
}

/// An image that is to become the container of a deployment, or a restart that may apply a changed
/// definition.
pub(in crate::agent) struct PushOrder {
    pub(in crate::agent) deployment: Deployment,
    pub(in crate::agent) by: String,
    /// Windows and refused digests do not count.
    pub(in crate::agent) force: bool,
    /// The pushed image; absent for a restart.
    pub(in crate::agent) offer: Option<Offer>,
}

impl PushOrder {
    /// The ID of the pushed image.
    pub(in crate::agent) fn image_id(&self) -> String {
        self.offer.as_ref().map(|offer| offer.index.to_string()).unwrap_or_default()
    }
}

/// What becomes of an order.
pub(in crate::agent) enum PushNext {
    /// An update.
    Update(Box<Plan>, Box<Readiness>),
    /// There is no container yet.
    First,
    /// It is done already: the image runs, or the container was restarted.
    Done,
}

/// What was found at the name of a container.
pub(in crate::agent) enum LookedAt {
    /// There is no such container.
    Nothing,
    /// The container, and what an update of it would meet.
    Container(Box<Observation>, Box<Readiness>),
}
