//! The questions about deployments, whose images are pushed to this machine.

use tokio::sync::oneshot;

use super::question::{Answer, AskError, AskKind, Question};
use crate::core::deployment::ClientAct;
use crate::core::docker::reference::Digest;
use crate::core::update::history::Record;
use crate::execute::Upload;

/// Loads an image archive into the Engine, and updates the container of a deployment to its image.
#[derive(Debug)]
pub struct LoadImage {
    pub deployment: String,
    /// The client, as the history shows it.
    pub by: String,
    /// Windows and refused digests do not count, safety does.
    pub force: bool,
    pub upload: Upload,
}

/// How a load ended. An archive that could not be loaded is an error instead.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadEnd {
    /// The update ended, successful or not.
    Ended {
        record: Box<Record>,
        /// The ID of the pushed image.
        image_id: String,
    },
    /// The container runs this image already. Nothing was changed.
    AlreadyRuns { image_id: String },
}

/// What a client does with the container of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentAct {
    /// Starts it, and forgets that it was stopped.
    Start,
    /// Stops it. No round starts it, and no load replaces it, until `Start` or `Restart`.
    Stop,
    /// Stops and starts it. A changed definition is applied.
    Restart,
    /// Rolls it back to the image before.
    RollBack,
    /// Forgets its refused digests.
    Allow,
}

/// Asks for an act on the container of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActOnDeployment {
    pub deployment: String,
    /// The client, as the history shows it.
    pub by: String,
    pub act: DeploymentAct,
}

/// How an act ended.
#[derive(Debug, Clone, PartialEq)]
pub enum DeploymentActEnd {
    /// It is done.
    Done,
    /// So many refused digests are forgotten.
    Allowed(usize),
    /// It was an update, or a rollback, and it ended, successful or not.
    Ended(Box<Record>),
    /// The self-update helper carries it out, because it is the agent's own container.
    SelfUpdating,
}

/// Asks for the state of deployments. Those that do not exist are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowDeployments {
    /// The names; `None`: all.
    pub names: Option<Vec<String>>,
}

/// The state of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentState {
    pub name: String,
    pub container: String,
    /// `running`, `exited`, …, as the Engine writes it. `None`: there is no container.
    pub state: Option<String>,
    /// The image as the container was created with it.
    pub image: Option<String>,
    pub image_id: Option<String>,
    /// The push of the image that the container has; `None` if it was not pushed.
    pub pushed: Option<ClientAct>,
    /// Who stopped it, if a client did.
    pub stopped: Option<ClientAct>,
    /// Whether the container was created from another definition than the one that is configured
    /// now. The next load or restart applies that one.
    pub has_new_definition: bool,
    /// Whether an update of it is in flight or left open.
    pub is_in_flight: bool,
    /// How many images are refused.
    pub refused: usize,
}

/// Asks which layers a client may leave out of an archive for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowLayers {
    pub deployment: String,
}

/// The layers on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLayers {
    /// Whether the Engine uses the containerd image store. It accepts thin archives only as an OCI
    /// layout, and `layers` are digests of blobs; otherwise they are diff IDs.
    pub is_containerd: bool,
    pub layers: Vec<Digest>,
    /// The platform of the Engine, as `linux/arm64/v8`.
    pub platform: String,
}

/// Most lines of a log in one answer.
pub const LOG_LINES_MAX: usize = 1000;

/// Asks for the last lines of a deployment's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLog {
    pub deployment: String,
    pub lines: usize,
}

/// A question about a deployment with the sender of its answer.
#[derive(Debug)]
pub enum DeploymentAsk {
    Load(LoadImage, Answer<LoadEnd>),
    Act(ActOnDeployment, Answer<DeploymentActEnd>),
    Show(ShowDeployments, Answer<Vec<DeploymentState>>),
    Layers(ShowLayers, Answer<KnownLayers>),
    Log(ReadLog, Answer<Vec<String>>),
}

macro_rules! questions {
    ($($question:ty => $answer:ty, $kind:ident;)*) => {
        $(impl Question for $question {
            type Answer = $answer;

            fn into_ask(self, answer: oneshot::Sender<Result<$answer, AskError>>) -> AskKind {
                AskKind::Deployment(DeploymentAsk::$kind(self, answer))
            }
        })*
    };
}

questions! {
    LoadImage => LoadEnd, Load;
    ActOnDeployment => DeploymentActEnd, Act;
    ShowDeployments => Vec<DeploymentState>, Show;
    ShowLayers => KnownLayers, Layers;
    ReadLog => Vec<String>, Log;
}
