//! The answers of the push API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::UpdateRow;
use crate::agent::{DeploymentActEnd, DeploymentState, KnownLayers, LoadEnd};
use crate::core::deployment::ClientAct;
use crate::core::deployment::refusal::PushRefusal;
use crate::core::docker::reference::Digest;

/// All deployments that a client may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentsDocument {
    pub deployments: Vec<DeploymentRow>,
}

/// A client did something at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientActRow {
    pub by: String,
    pub at: DateTime<Utc>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRow {
    pub deployment: String,
    pub container: String,
    /// `running`, `exited`, …; absent: there is no container.
    pub state: Option<String>,
    pub image: Option<String>,
    pub image_id: Option<String>,
    /// Who pushed its image, and when.
    pub pushed: Option<ClientActRow>,
    /// Who stopped it, and when.
    pub stopped: Option<ClientActRow>,
    /// The next load or restart applies another definition.
    pub new_definition: bool,
    pub in_flight: bool,
    /// How many images are refused.
    pub refused: usize,
}

/// The layers that a client may leave out of an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayersDocument {
    /// Whether the Engine uses the containerd image store: then thin archives are OCI layouts, and
    /// layers are digests of blobs; otherwise they are diff IDs.
    pub containerd: bool,
    pub layers: Vec<Digest>,
    /// The platform of the Engine.
    pub platform: String,
}

/// The last lines of a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDocument {
    pub lines: Vec<String>,
}

/// How a load, or an act on a deployment, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushDocument {
    /// It was an update, and it ended, one way or the other.
    Ended(Box<UpdateRow>),
    /// The container runs this image already.
    AlreadyRuns {
        image_id: String,
    },
    Done,
    /// So many refused images are forgotten.
    Allowed {
        digests: usize,
    },
    /// The self-update helper carries it out: it is the agent's own container.
    SelfUpdating,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalDocument {
    /// A word of a closed list.
    pub error: String,
    pub detail: String,
}

impl From<&ClientAct> for ClientActRow {
    fn from(act: &ClientAct) -> Self {
        Self { by: act.by.clone(), at: act.at }
    }
}

impl From<&DeploymentState> for DeploymentRow {
    fn from(state: &DeploymentState) -> Self {
        Self {
            deployment: state.name.clone(),
            container: state.container.clone(),
            state: state.state.clone(),
            image: state.image.clone(),
            image_id: state.image_id.clone(),
            pushed: state.pushed.as_ref().map(ClientActRow::from),
            stopped: state.stopped.as_ref().map(ClientActRow::from),
            new_definition: state.has_new_definition,
            in_flight: state.is_in_flight,
            refused: state.refused,
        }
    }
}

impl From<&KnownLayers> for LayersDocument {
    fn from(known: &KnownLayers) -> Self {
        let KnownLayers { is_containerd, layers, platform } = known.clone();
        Self { containerd: is_containerd, layers, platform }
    }
}

impl From<&LoadEnd> for PushDocument {
    fn from(end: &LoadEnd) -> Self {
        match end {
            LoadEnd::Ended { record, .. } => Self::Ended(Box::new(UpdateRow::from(&**record))),
            LoadEnd::AlreadyRuns { image_id } => Self::AlreadyRuns { image_id: image_id.clone() },
        }
    }
}

impl From<&DeploymentActEnd> for PushDocument {
    fn from(end: &DeploymentActEnd) -> Self {
        match end {
            DeploymentActEnd::Done => Self::Done,
            DeploymentActEnd::Allowed(digests) => Self::Allowed { digests: *digests },
            DeploymentActEnd::Ended(record) => Self::Ended(Box::new(UpdateRow::from(&**record))),
            DeploymentActEnd::SelfUpdating => Self::SelfUpdating,
        }
    }
}

impl From<&PushRefusal> for RefusalDocument {
    fn from(refusal: &PushRefusal) -> Self {
        Self { error: refusal.word.word().to_owned(), detail: refusal.detail.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ends_are_written_as_one_field() {
        for (end, written) in [
            (PushDocument::Done, json!("done")),
            (PushDocument::Allowed { digests: 2 }, json!({"allowed": {"digests": 2}})),
            (
                PushDocument::AlreadyRuns { image_id: "sha256:1".into() },
                json!({"already_runs": {"image_id": "sha256:1"}}),
            ),
            (PushDocument::SelfUpdating, json!("self_updating")),
        ] {
            assert_eq!(serde_json::to_value(&end).expect("JSON"), written);
            assert_eq!(serde_json::from_value::<PushDocument>(written).expect("an end"), end);
        }
    }
}
