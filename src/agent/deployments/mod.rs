//! Deployments: images that clients push, and what else clients ask of their containers.
//!
//! A push has three parts. The load runs beside the loop, one at a time, and touches no container.
//! Then the order waits for the executor, like a rollback by hand. Then its update is one of those
//! in flight.

// What a client asked for, until it is answered.
pub(in crate::agent) mod order;
// A look at the container of a deployment.
mod look;
// What forbids a push before a byte arrives, and the load.
mod load;
// The last look, and what becomes of the order.
pub(in crate::agent) mod prepare;
// What becomes of tasks: an image is loaded, a first container has ended.
mod outcomes;
// Start, stop, restart, rollback, allow.
mod acts;
// What is known of deployments.
mod show;
// What an earlier process left behind.
mod leftovers;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::handle::deployments::{DeploymentAsk, LoadEnd, LoadImage};
use crate::agent::handle::question::Answer;
use crate::agent::tasks::TaskResult;
use crate::agent::{Agent, RoundRequest};
use crate::core::deployment::Deployment;
use crate::core::deployment::refusal::{PushRefusal, RefusalWord};
use crate::core::update::event::Trigger;
use crate::ports::Ports;
pub(in crate::agent) use outcomes::DeploymentResult;

/// How long a new configuration waits for an upload in progress. An archive without the layers that
/// are on the device has arrived by then; a large one over a slow line would take hours.
const RELOAD_UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What the loop knows of deployments.
#[derive(Debug, Default)]
pub(in crate::agent) struct DeploymentsAtWork {
    /// The deployment whose image is being loaded.
    loading: Option<String>,
    /// Containers that are started, stopped or created for a client now.
    acting: BTreeSet<String>,
    /// Whether what an earlier process left behind is removed.
    is_swept: bool,
    /// Whether the Engine may still finish a load that a crash ended.
    may_come: bool,
    /// Cancelled when the agent reads its configuration again: an upload ends soon then.
    pub(in crate::agent) reloading: CancellationToken,
}

impl DeploymentsAtWork {
    /// The containers that are started, stopped or created now.
    pub(in crate::agent) fn names(&self) -> impl Iterator<Item = String> {
        self.acting.iter().cloned()
    }
}

/// The deployment has no container.
fn no_such_container(container: &str) -> PushRefusal {
    let detail = format!("there is no container named {container}");
    PushRefusal::new(RefusalWord::NoSuchContainer, detail)
}

impl<P: Ports> Agent<P> {
    /// Takes a question about a deployment from the queue.
    pub(in crate::agent) async fn take_deployment_ask(
        &mut self,
        ask: DeploymentAsk,
        trigger: Trigger,
    ) {
        match ask {
            DeploymentAsk::Load(load, answer) => self.take_load(load, trigger, answer).await,
            DeploymentAsk::Act(act, answer) => self.take_act(act, trigger, answer).await,
            DeploymentAsk::Show(show, answer) => {
                _ = answer.send(self.show_deployments(&show).await);
            }
            DeploymentAsk::Layers(show, answer) => _ = answer.send(self.known_layers(&show).await),
            DeploymentAsk::Log(read, answer) => _ = answer.send(self.read_log(&read).await),
        }
    }

    /// The deployment, if nothing forbids that something begins on its container now.
    async fn free_deployment(&mut self, name: &str) -> Result<Deployment, PushRefusal> {
        let deployment = self.context.settings.defaults.deployments.find(name)?.clone();
        let refuse = |word, detail: &str| Err(PushRefusal::new(word, detail));
        if self.is_ending() {
            return refuse(RefusalWord::NotReady, "the agent is ending; try again in a minute");
        }
        if !self.sweep_pushes().await {
            let detail = "what an earlier run left open is not ended yet; try again in a minute";
            return refuse(RefusalWord::NotReady, detail);
        }
        match self.hold_engine().await {
            Ok(None) => {}
            Ok(Some(other)) => return refuse(RefusalWord::NotReady, &other),
            Err(error) => return refuse(RefusalWord::EngineError, &error.to_string()),
        }
        let container = &deployment.container;
        let is_asked = self.asks.iter().any(|ask| ask.kind.concerns(container));
        let is_open = self.open.contains_key(container) || self.untouched.contains_key(container);
        if is_asked || is_open || self.names_at_work().contains(container) {
            let detail = "an update of its container is in flight or left open; wait for its end";
            return refuse(RefusalWord::UpdateInFlight, detail);
        }
        Ok(deployment)
    }

    async fn take_load(&mut self, load: LoadImage, trigger: Trigger, answer: Answer<LoadEnd>) {
        let free = self.free_deployment(&load.deployment).await;
        let busy = self.deployments.loading.as_ref();
        let deployment = match (free, busy) {
            (Err(refusal), _) => return drop(answer.send(Err(refusal.into()))),
            (Ok(_), Some(name)) => {
                let detail = format!("an image for {name} is being loaded; try again after it");
                let refusal = PushRefusal::new(RefusalWord::Busy, detail);
                return drop(answer.send(Err(refusal.into())));
            }
            (Ok(deployment), None) => deployment,
        };
        self.deployments.loading = Some(deployment.name.clone());
        let request = RoundRequest { force: load.force, ..RoundRequest::default() };
        let known = (self.circumstances(&request), self.cache.clone());
        let context = self.context.for_trigger(trigger);
        let reloading = self.deployments.reloading.clone();
        self.tasks.act(async move {
            let cut = context.stop.child_token();
            let receive = context.receive_image(deployment, load, known, &cut);
            let limit = async {
                reloading.cancelled().await;
                tokio::time::sleep(RELOAD_UPLOAD_TIMEOUT).await;
                cut.cancel();
                std::future::pending::<Infallible>().await
            };
            let order = tokio::select! {
                order = Box::pin(receive) => order,
                never = limit => match never {},
            };
            TaskResult::Deployment(DeploymentResult::Loaded(order.map(Box::new), trigger, answer))
        });
    }
}
