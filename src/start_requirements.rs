//! Floor 2: looks at what only a start needs, as far as the agent can see it.

use std::path::Path;

use serde_json::Value;

use crate::core::decide::start_requirements::{self, Looked, Need, Seen, Window};
use crate::engine::Engine;
use crate::host::Host;
use crate::ports::Ports;

/// Looks at everything that the start of a container needs. What the Engine or the machine does not
/// tell is [`Seen::Unknown`].
pub async fn look<P: Ports>(ports: &P, container: &Value) -> Vec<Looked> {
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
                Need::Device(path) | Need::Source(path) => see(ports, &windows, path).await,
                Need::Network(_) => Seen::Unknown,
            };
            looked.push(Looked { need, seen });
        }
    }
    if let Some(network) = start_requirements::network_that_was_left(container) {
        let is_gone = ports.engine().has_network(network).await == Ok(false);
        let seen = if is_gone { Seen::Missing } else { Seen::Unknown };
        looked.push(Looked { need: Need::Network(network.to_owned()), seen });
    }
    looked
}

async fn see<P: Ports>(ports: &P, windows: &[Window], path: &Path) -> Seen {
    match start_requirements::window_of(windows, path) {
        Some(window) => ports.host().look_at(window, path).await,
        None => Seen::Unknown,
    }
}

/// What the agent sees of the Engine's machine. An Engine on another machine does not know the
/// agent's own container, and leaves no trace of this one here.
async fn windows<P: Ports>(ports: &P, container: &Value) -> Vec<Window> {
    if let Some(own) = ports.host().own_container() {
        let own = ports.engine().inspect(&own).await.ok().flatten();
        return own.map(|own| start_requirements::windows(&own)).unwrap_or_default();
    }
    let whole = Window::whole_machine();
    for trace in start_requirements::traces(container) {
        if !matches!(ports.host().look_at(&whole, trace).await, Seen::Unknown | Seen::Missing) {
            return vec![whole];
        }
    }
    Vec::new()
}
