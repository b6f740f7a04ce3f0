//! What only the start of a container needs. A container continues to run when its USB stick is
//! removed or a directory that it mounts is deleted, but it cannot be started again: an update
//! would stop it for good. So Pilotfish checks this before it stops anything.
//!
//! What the Engine checks itself when a container is created (log and volume drivers, runtimes,
//! limits) is not checked here, because the new container is created before the old one is stopped.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::No;
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::recreate::dependents::{Anchor, Tie, anchors, means};

/// One thing that must be there when a container is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartRequirement {
    /// A device of the machine, or a directory of devices (`--device`).
    Device(PathBuf),
    /// The source of a bind mount. With `--volume` the Engine creates an empty directory if the
    /// source is missing, and the program starts without its data.
    Source(PathBuf),
    /// The network that the container was created in, while it is connected to others only.
    Network(String),
}

/// What the agent saw of a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The agent cannot see it.
    Unknown,
    Missing,
    Device,
    Directory {
        /// Whether a device may be in it, at any depth.
        may_hold_devices: bool,
    },
    /// Something else.
    Other,
}

/// A requirement, and what the agent saw of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRequirement {
    pub need: StartRequirement,
    pub seen: Presence,
}

/// A directory of the Engine's machine, and its path for the agent: `/` at `/` for an agent that
/// runs on the machine itself, a bind mount of the agent's own container for an agent in a
/// container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleDirectory {
    pub source: PathBuf,
    pub shown_at: PathBuf,
}

impl VisibleDirectory {
    /// The whole machine, as a process on it sees it.
    #[must_use]
    pub fn whole_machine() -> Self {
        Self { source: PathBuf::from("/"), shown_at: PathBuf::from("/") }
    }

    /// Whether the agent's own root directory is the machine's.
    #[must_use]
    pub fn is_whole_machine(&self) -> bool {
        *self == Self::whole_machine()
    }
}

/// The paths of the machine that the start of a container needs, from its inspect document.
///
/// A privileged container has all devices, so Docker does not look for devices that keep their own
/// path (moby, `daemon/oci_linux.go`).
#[must_use]
pub fn paths(container: &Value) -> Vec<StartRequirement> {
    let list = |pointer| container.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let is_privileged = inspect::flag(container, "/HostConfig/Privileged");
    let devices = list("/HostConfig/Devices").filter_map(|device| {
        let (host, inside) = ("/PathOnHost", "/PathInContainer");
        let is_there_anyway =
            is_privileged && inspect::text(device, host) == inspect::text(device, inside);
        absolute(inspect::text(device, host))
            .filter(|_| !is_there_anyway)
            .map(StartRequirement::Device)
    });
    let binds = list("/HostConfig/Binds").filter_map(|bind| {
        let source = bind.as_str()?.split_once(':')?.0;
        absolute(source).map(StartRequirement::Source)
    });
    let mounts = list("/HostConfig/Mounts").filter_map(|mount| {
        let is_bind = inspect::text(mount, "/Type") == "bind";
        let makes_it = inspect::flag(mount, "/BindOptions/CreateMountpoint");
        let source = absolute(inspect::text(mount, "/Source"))?;
        (is_bind && !makes_it).then_some(StartRequirement::Source(source))
    });
    devices.chain(binds).chain(mounts).collect()
}

/// The named volumes of a container that may stand for a path of the machine. A running container
/// keeps that path mounted, so the Engine notices a missing one only at the next start.
pub fn volumes(container: &Value) -> impl Iterator<Item = &str> {
    const ANONYMOUS_LENGTH: usize = 64;
    let mounts = container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let is_local = |mount: &&Value| {
        let text = |pointer| inspect::text(mount, pointer);
        text("/Type") == "volume" && matches!(text("/Driver"), "local" | "")
    };
    let names = mounts.filter(is_local).map(|mount| inspect::text(mount, "/Name"));
    names.filter(|name| !name.is_empty() && name.len() != ANONYMOUS_LENGTH)
}

/// The directory or the disk that a volume of the driver `local` stands for (`--opt type=none --opt
/// o=bind --opt device=/mnt/usb`), from its inspect document. A share of another machine has no
/// path on this one.
#[must_use]
pub fn source_of_volume(volume: &Value) -> Option<StartRequirement> {
    let device = inspect::text(volume, "/Options/device");
    let is_share =
        matches!(inspect::text(volume, "/Options/type"), "nfs" | "nfs4" | "cifs" | "smb3");
    absolute(device)
        .filter(|_| !is_share && !device.starts_with("//"))
        .map(StartRequirement::Source)
}

fn absolute(path: &str) -> Option<PathBuf> {
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The network that a container was created in, if the container is no longer connected to it. A
/// start connects it again, and fails if the network was removed.
#[must_use]
pub fn network_that_was_left(container: &Value) -> Option<&str> {
    let mode = inspect::text(container, "/HostConfig/NetworkMode");
    let is_engine_default = matches!(mode, "" | "default" | "bridge" | "host" | "none" | "nat");
    if is_engine_default || mode.contains(':') {
        return None;
    }
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object)?;
    let is_it = |(name, endpoint): (&String, &Value)| {
        name == mode || inspect::text(endpoint, "/NetworkID") == mode
    };
    (!networks.iter().any(is_it)).then_some(mode)
}

/// Files that the Engine keeps for a container under a path with the container's ID. An agent that
/// sees one of them sees the disk of the Engine's machine.
pub fn traces(container: &Value) -> impl Iterator<Item = &Path> {
    let pointers = ["/HostnamePath", "/ResolvConfPath", "/HostsPath", "/LogPath"];
    let paths = pointers.into_iter().map(|pointer| inspect::text(container, pointer));
    paths.filter(|path| path.starts_with('/')).map(Path::new)
}

/// The directories of the machine that an agent in a container sees: its own bind mounts.
#[must_use]
pub fn windows(own_container: &Value) -> Vec<VisibleDirectory> {
    let mounts = own_container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let binds = mounts.filter(|mount| inspect::text(mount, "/Type") == "bind");
    let window = |mount| {
        let path = |pointer| absolute(inspect::text(mount, pointer));
        Some(VisibleDirectory { source: path("/Source")?, shown_at: path("/Destination")? })
    };
    binds.filter_map(window).collect()
}

/// The nearest visible directory that contains this path. A mount itself says nothing about its own
/// path: it stays mounted when the path is removed.
#[must_use]
pub fn window_of<'a>(windows: &'a [VisibleDirectory], path: &Path) -> Option<&'a VisibleDirectory> {
    let shows =
        |window: &&VisibleDirectory| path.starts_with(&window.source) && path != window.source;
    windows.iter().filter(shows).max_by_key(|window| window.source.components().count())
}

/// Whether everything is there, as far as the agent could see it. `of` names the container if it is
/// not the updated one, and ends in a colon.
///
/// # Errors
/// The first thing that is missing.
pub fn met(of: &str, looked: &[CheckedRequirement]) -> Result<(), No> {
    looked.iter().find_map(|looked| unmet(of, looked)).map_or(Ok(()), Err)
}

fn unmet(of: &str, CheckedRequirement { need, seen }: &CheckedRequirement) -> Option<No> {
    let (reason, what) = match (need, seen) {
        (StartRequirement::Device(path), seen) => {
            let is = match seen {
                Presence::Missing => "is not there",
                Presence::Other => "is no device",
                Presence::Directory { may_hold_devices: false } => "holds no device",
                Presence::Unknown | Presence::Device | Presence::Directory { .. } => return None,
            };
            (Reason::DeviceMissing, format!("the device {} {is}", path.display()))
        }
        (StartRequirement::Source(path), Presence::Missing) => {
            (Reason::StartWouldFail, format!("{}, which it mounts, is not there", path.display()))
        }
        (StartRequirement::Network(name), Presence::Missing) => {
            (Reason::StartWouldFail, format!("its network {name} is not there"))
        }
        (StartRequirement::Source(_) | StartRequirement::Network(_), _) => return None,
    };
    Some(No::new(reason, format!("{of}{what}: it runs, but could not be started again")))
}

/// Whether the containers that this one joins or links to exist and run. `others` are what the
/// inspect documents of all other containers say about their ties.
///
/// # Errors
/// The first one that does not.
pub(super) fn joins(of: &str, container: &Value, others: &[impl Borrow<Value>]) -> Result<(), No> {
    // A value that cannot be read is refused when the container is recreated.
    let anchors = anchors(container).unwrap_or_default();
    for anchor in anchors.iter().filter(|anchor| must_run(anchor, container)) {
        let is_it =
            |other: &&Value| means(&anchor.container, inspect::id(other), inspect::name(other));
        let found = others.iter().map(Borrow::borrow).find(is_it);
        let is = match found {
            None => "is not there",
            Some(other) if other.pointer("/State/Running") == Some(&Value::Bool(false)) => {
                "does not run"
            }
            Some(_) => continue,
        };
        let detail = format!(
            "{of}it {}, which {is}: it runs, but could not be started again",
            anchor.how.of(&shown(anchor, found))
        );
        return Err(No::new(Reason::StartWouldFail, detail));
    }
    Ok(())
}

/// The name of the other container, or the beginning of its ID if it is gone.
pub(super) fn shown(anchor: &Anchor, found: Option<&Value>) -> String {
    const ID_LENGTH: usize = 64;
    let written = &anchor.container;
    match found.map(inspect::name) {
        Some(name) => name.to_owned(),
        None if written.len() == ID_LENGTH => written.chars().take(12).collect(),
        None => written.clone(),
    }
}

/// Whether a start fails unless the other container runs. Volumes are already resolved when a
/// container is created, and on a user-defined network a link is only a name.
fn must_run(anchor: &Anchor, container: &Value) -> bool {
    let mode = inspect::text(container, "/HostConfig/NetworkMode");
    match anchor.how {
        Tie::Network | Tie::Pid | Tie::Ipc => true,
        Tie::Link => matches!(mode, "" | "default" | "bridge"),
        Tie::Volumes | Tie::Label => false,
    }
}

#[cfg(test)]
#[path = "start_requirements_tests.rs"]
mod tests;
