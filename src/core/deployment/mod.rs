//! Deployments: services whose images are pushed to this machine, without a registry.

// Why a push, or another question about a deployment, is refused.
pub mod refusal;
// How the container of a deployment is created.
mod definition;
// What a crash in the middle of a push leaves, and what is removed then.
pub mod push_journal;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use definition::Definition;
use refusal::PushRefusal;

/// One deployment of the configuration. It is the opt-in of its container, which needs no label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The name in the configuration and in the paths of the API.
    pub name: String,
    /// The name of its container.
    pub container: String,
    /// How the container is created. Absent: the container exists, and is adopted as it is.
    pub definition: Option<Definition>,
}

/// All deployments, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployments(BTreeMap<String, Deployment>);

impl Deployments {
    /// The deployment with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<&Deployment, PushRefusal> {
        self.0.get(name).ok_or_else(|| PushRefusal::no_such_deployment(name))
    }

    /// The deployment of a container.
    #[must_use]
    pub fn of_container(&self, container: &str) -> Option<&Deployment> {
        self.0.values().find(|deployment| deployment.container == container)
    }

    /// All deployments, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Deployment> {
        self.0.values()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Deployment> for Deployments {
    fn from_iter<I: IntoIterator<Item = Deployment>>(all: I) -> Self {
        let mut deployments = Self::default();
        // Not `collect`, which brings the code of a sort for this type into the program.
        deployments.0.extend(all.into_iter().map(|it| (it.name.clone(), it)));
        deployments
    }
}

/// A client did something at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAct {
    /// The client, by its certificate.
    pub by: String,
    pub at: DateTime<Utc>,
}

/// What is known of a container because it belongs to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentFacts {
    /// The name of the deployment.
    pub name: String,
    /// Whether the container would be watched without the deployment: then its registry is
    /// followed, as long as its image was not pushed.
    pub is_watched_anyway: bool,
    /// The push of its image, if it was pushed.
    pub pushed: Option<ClientAct>,
    /// Who stopped it, if a client did.
    pub stopped: Option<ClientAct>,
}
