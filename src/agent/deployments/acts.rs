//! Start, stop, restart, rollback and allow, for the container of a deployment.

use std::collections::BTreeSet;
use std::time::Duration;

use super::order::{ClientAnswer, PushOrder, RollbackAnswer};
use super::{DeploymentResult, no_such_container};
use crate::agent::Agent;
use crate::agent::context::Context;
use crate::agent::handle::answers::WaitingKind;
use crate::agent::handle::deployments::{ActOnDeployment, DeploymentAct, DeploymentActEnd};
use crate::agent::handle::question::{Answer, AskError};
use crate::agent::tasks::TaskResult;
use crate::core::deployment::{ClientAct, Deployment};
use crate::core::docker::inspect;
use crate::core::update::event::Trigger;
use crate::engine::{Containers, EngineError};
use crate::host::Host;
use crate::ports::Ports;

impl<P: Ports> Agent<P> {
    pub(super) async fn take_act(
        &mut self,
        ActOnDeployment { deployment, by, act }: ActOnDeployment,
        trigger: Trigger,
        answer: Answer<DeploymentActEnd>,
    ) {
        let deployment = match self.free_deployment(&deployment).await {
            Ok(deployment) => deployment,
            Err(refusal) => return drop(answer.send(Err(refusal.into()))),
        };
        match act {
            DeploymentAct::Allow => {
                let allowed = self.allow_alone(&deployment.container).await;
                let _ = answer.send(allowed.map(DeploymentActEnd::Allowed));
            }
            DeploymentAct::RollBack => {
                let answer = RollbackAnswer::Client { by, answer };
                let name = deployment.container;
                let names = BTreeSet::from([name.clone()]);
                self.wait(trigger, WaitingKind::RollBack(name, names, answer));
            }
            DeploymentAct::Restart => {
                let order = PushOrder { deployment, by, force: true, offer: None };
                let answer = ClientAnswer::Act(answer);
                self.wait(trigger, WaitingKind::Push(Box::new(order), answer));
            }
            DeploymentAct::Start => self.act(deployment, answer, None, trigger),
            DeploymentAct::Stop => self.act(deployment, answer, Some(by), trigger),
        }
    }

    /// Starts the container, or stops it for a client.
    fn act(
        &mut self,
        Deployment { container, .. }: Deployment,
        answer: Answer<DeploymentActEnd>,
        stopped_by: Option<String>,
        trigger: Trigger,
    ) {
        self.deployments.acting.insert(container.clone());
        let context = self.context.for_trigger(trigger);
        self.tasks.act(async move {
            let done = match stopped_by {
                Some(by) => context.stop_container(&container, by).await,
                None => context.start_container(&container).await,
            };
            let done = done.map(|()| DeploymentActEnd::Done);
            TaskResult::Deployment(DeploymentResult::Acted(container, done, answer))
        });
    }
}

impl<P: Ports> Context<P> {
    async fn start_container(&self, container: &str) -> Result<(), AskError> {
        let (id, _) = self.existing(container).await?;
        self.ports.engine().start(&id).await?;
        self.forget_stop(container);
        Ok(())
    }

    /// Stops a container. That a client did so is on disk first, so that it is known also after a
    /// power cut.
    async fn stop_container(&self, container: &str, by: String) -> Result<(), AskError> {
        let (id, timeout) = self.existing(container).await?;
        let act = ClientAct { by, at: self.ports.host().now() };
        let mut memory = self.ports.state().memory()?;
        memory.stopped.insert(container.to_owned(), act);
        self.ports.state().remember(&memory)?;
        let stopped = self.ports.engine().stop(&id, timeout).await;
        if stopped.as_ref().is_err_and(|error| !error.is_engine_unreachable()) {
            self.forget_stop(container);
        }
        Ok(stopped?)
    }

    /// The ID of a container, and how long it may take to stop.
    async fn existing(&self, container: &str) -> Result<(String, Duration), AskError> {
        let document: Result<_, EngineError> = self.ports.engine().inspect(container).await;
        let document = document?.ok_or_else(|| no_such_container(container))?;
        Ok((inspect::id(&document).to_owned(), inspect::stop_timeout(&document)))
    }

    /// Forgets that a client stopped a container.
    pub(in crate::agent) fn forget_stop(&self, container: &str) {
        let forgotten = self.ports.state().memory().and_then(|mut memory| {
            match memory.stopped.remove(container) {
                Some(_) => self.ports.state().remember(&memory),
                None => Ok(()),
            }
        });
        if let Err(error) = forgotten {
            self.warn_about(container.to_owned(), error.to_string());
        }
    }
}
