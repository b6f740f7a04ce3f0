//! Layer 2: checks what a start needs, as far as the agent can see it.

use std::path::Path;

use serde_json::Value;

use crate::core::decide::start_requirements::{
    self, CheckedRequirement, Presence, StartRequirement, VisibleDirectory,
};
use crate::engine::{Containers, Networks, Volumes};
use crate::host::Host;
use crate::ports::Ports;

/// Checks everything that the start of a container needs. What neither the Engine nor the machine
/// shows is [`Presence::Unknown`].
pub async fn look<P: Ports>(ports: &P, container: &Value) -> Vec<CheckedRequirement> {
    let mut looked = Vec::new();
    let mut needs = start_requirements::paths(container);
    for volume in start_requirements::volumes(container) {
        let volume = ports.engine().inspect_volume(volume).await.ok().flatten();
        needs.extend(volume.as_ref().and_then(start_requirements::source_of_volume));
    }
    if !needs.is_empty() {
        let windows = windows(ports, container).await;
        for need in needs {
            let seen = match &need {
                StartRequirement::Device(path) | StartRequirement::Source(path) => {
                    see(ports, &windows, path).await
                }
                StartRequirement::Network(_) => Presence::Unknown,
            };
            looked.push(CheckedRequirement { need, seen });
        }
    }
    if let Some(network) = start_requirements::network_that_was_left(container) {
        let is_gone = ports.engine().has_network(network).await == Ok(false);
        let seen = if is_gone { Presence::Missing } else { Presence::Unknown };
        looked
            .push(CheckedRequirement { need: StartRequirement::Network(network.to_owned()), seen });
    }
    looked
}

async fn see<P: Ports>(ports: &P, windows: &[VisibleDirectory], path: &Path) -> Presence {
    match start_requirements::window_of(windows, path) {
        Some(window) => ports.host().look_at(window, path).await,
        None => Presence::Unknown,
    }
}

/// What the agent sees of the Engine's machine. An Engine on another machine does not know the
/// agent's own container, and has none of its files here.
async fn windows<P: Ports>(ports: &P, container: &Value) -> Vec<VisibleDirectory> {
    if let Some(own) = ports.host().own_container() {
        let own = ports.engine().inspect(&own).await.ok().flatten();
        return own.map(|own| start_requirements::windows(&own)).unwrap_or_default();
    }
    let whole = VisibleDirectory::whole_machine();
    for trace in start_requirements::traces(container) {
        if !matches!(
            ports.host().look_at(&whole, trace).await,
            Presence::Unknown | Presence::Missing
        ) {
            return vec![whole];
        }
    }
    Vec::new()
}
