//! What is known of deployments.

use serde_json::Value;

use super::no_such_container;
use crate::agent::Agent;
use crate::agent::handle::deployments::{
    DeploymentState, KnownLayers, LOG_LINES_MAX, ReadLog, ShowDeployments, ShowLayers,
};
use crate::agent::handle::question::AskError;
use crate::core::decide::memory::Memory;
use crate::core::decide::push::has_new_definition;
use crate::core::deployment::Deployment;
use crate::core::docker::inspect;
use crate::core::docker::reference::Digest;
use crate::core::subject::Subject;
use crate::engine::{Containers, Engine, Images, Listed};
use crate::ports::Ports;

impl<P: Ports> Agent<P> {
    pub(super) async fn show_deployments(
        &self,
        ShowDeployments { names }: &ShowDeployments,
    ) -> Result<Vec<DeploymentState>, AskError> {
        let deployments = &self.context.settings.defaults.deployments;
        let is_meant =
            |it: &&Deployment| names.as_ref().is_none_or(|names| names.contains(&it.name));
        let list = self.context.list().await?;
        let memory = self.context.ports.state().memory()?;
        let state = |deployment: &Deployment| {
            let listed = list.iter().find(|it| it.name == deployment.container);
            self.state_of(deployment, listed, &memory)
        };
        Ok(deployments.iter().filter(is_meant).map(state).collect())
    }

    fn state_of(
        &self,
        deployment: &Deployment,
        listed: Option<&Listed>,
        memory: &Memory,
    ) -> DeploymentState {
        let container = &deployment.container;
        let is_running = listed.is_some_and(|listed| listed.state == "running");
        let is_open = self.open.contains_key(container);
        let refused = memory.refused.get(&Subject::container(container));
        DeploymentState {
            name: deployment.name.clone(),
            container: container.clone(),
            state: listed.map(|listed| listed.state.clone()),
            image: listed.and_then(|it| it.created_from.as_ref()).map(|from| from.image.clone()),
            image_id: listed.map(|listed| listed.image_id.clone()),
            pushed: listed.and_then(|listed| memory.pushed.get(&listed.image_id)).cloned(),
            stopped: memory.stopped.get(container).filter(|_| !is_running).cloned(),
            has_new_definition: listed.is_some_and(|listed| {
                has_new_definition(deployment.definition.as_ref(), &listed.labels)
            }),
            is_in_flight: is_open || self.names_at_work().contains(container),
            refused: refused.map_or(0, Vec::len),
        }
    }

    /// The layers of the image that runs, and of the one before it. Layers of other images are not
    /// told: a client may see only its own deployments.
    pub(super) async fn known_layers(
        &self,
        ShowLayers { deployment }: &ShowLayers,
    ) -> Result<KnownLayers, AskError> {
        let container = &self.context.settings.defaults.deployments.find(deployment)?.container;
        let engine = self.context.ports.engine();
        let info = engine.info().await?;
        let memory = self.context.ports.state().memory()?;
        let running = engine.inspect(container).await?;
        let running = running.as_ref().map(|it| inspect::image_id(it).to_owned());
        let previous = memory.previous.get(&Subject::container(container)).cloned();
        let mut known = KnownLayers {
            is_containerd: info.containerd_store,
            layers: Vec::new(),
            platform: info.platform.to_string(),
        };
        for id in running.into_iter().chain(previous) {
            let Some(image) = engine.inspect_image(&id).await? else { continue };
            if known.layers.is_empty() {
                known.platform = inspect::platform(&image).to_string();
            }
            let layers = match info.containerd_store {
                true => memory.pushed_layers.get(&id).cloned().unwrap_or_default(),
                false => layers(&image),
            };
            for layer in layers {
                if !known.layers.contains(&layer) {
                    known.layers.push(layer);
                }
            }
        }
        Ok(known)
    }

    pub(super) async fn read_log(&self, read: &ReadLog) -> Result<Vec<String>, AskError> {
        let container =
            &self.context.settings.defaults.deployments.find(&read.deployment)?.container;
        let lines = read.lines.min(LOG_LINES_MAX);
        match self.context.ports.engine().logs(container, lines).await {
            Err(error) if error.is_not_found() => Err(no_such_container(container).into()),
            lines => Ok(lines?),
        }
    }
}

fn layers(image: &Value) -> Vec<Digest> {
    inspect::layers(image).filter_map(|layer| layer.parse().ok()).collect()
}
