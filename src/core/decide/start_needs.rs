//! What only a start needs. A container runs on when its USB stick is pulled out or a directory
//! that it mounts is removed, but it cannot be started again: an update would stop it for good. So
//! this is looked at before anything is stopped.
//!
//! What the Engine checks itself when a container is created (log and volume drivers, runtimes,
//! limits) is not looked at here: the new container is created before the old one is stopped.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::No;
use crate::core::decide::reason::Reason;
use crate::core::docker::inspect;
use crate::core::recreate::dependents::{Anchor, Tie, anchors, means};

/// One thing that must be there when a container is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A device of the machine, or a directory of devices (`--device`).
    Device(PathBuf),
    /// The source of a bind mount. With `--volume` the Engine makes an empty directory where it is
    /// missing, which starts a program without its data.
    Source(PathBuf),
    /// The network that the container was created in, while it is connected to others only.
    Network(String),
}

/// What was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It cannot be seen from here.
    Unknown,
    /// It is not there.
    Missing,
    /// A device.
    Device,
    /// A directory.
    Directory {
        /// Whether a device may be in it, at any depth.
        may_hold_devices: bool,
    },
    /// Anything else that is there.
    Other,
}

/// A need, and what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What is needed.
    pub need: Need,
    /// What was seen.
    pub seen: Seen,
}

/// A directory of the Engine's machine, and where the agent sees it: `/` at `/` for an agent that
/// runs on the machine itself, a bind mount of the agent's own container for one in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its path on the machine.
    pub source: PathBuf,
    /// Its path for the agent.
    pub shown_at: PathBuf,
}

impl Window {
    /// The whole machine, as seen by a process that runs on it.
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

/// The paths of the machine that a container's start needs, from its inspect document.
///
/// A privileged container has all devices, so Docker does not look for those that keep their own
/// path (moby, `daemon/oci_linux.go`).
#[must_use]
pub fn paths(container: &Value) -> Vec<Need> {
    let list = |pointer| container.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let is_privileged = inspect::flag(container, "/HostConfig/Privileged");
    let devices = list("/HostConfig/Devices").filter_map(|device| {
        let (host, inside) = ("/PathOnHost", "/PathInContainer");
        let is_there_anyway =
            is_privileged && inspect::text(device, host) == inspect::text(device, inside);
        absolute(inspect::text(device, host)).filter(|_| !is_there_anyway).map(Need::Device)
    });
    let binds = list("/HostConfig/Binds").filter_map(|bind| {
        let source = bind.as_str()?.split_once(':')?.0;
        absolute(source).map(Need::Source)
    });
    let mounts = list("/HostConfig/Mounts").filter_map(|mount| {
        let is_bind = inspect::text(mount, "/Type") == "bind";
        let makes_it = inspect::flag(mount, "/BindOptions/CreateMountpoint");
        let source = absolute(inspect::text(mount, "/Source"))?;
        (is_bind && !makes_it).then_some(Need::Source(source))
    });
    devices.chain(binds).chain(mounts).collect()
}

/// The named volumes of a container that may stand for something else on the machine. A running
/// container keeps what they stand for mounted, so the Engine notices at the next start alone.
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

/// The directory or the disk that a volume of the driver `local` stands for
/// (`--opt type=none --opt o=bind --opt device=/mnt/usb`), from its document. A share of another
/// machine has no path on this one.
#[must_use]
pub fn source_of_volume(volume: &Value) -> Option<Need> {
    let device = inspect::text(volume, "/Options/device");
    let is_share =
        matches!(inspect::text(volume, "/Options/type"), "nfs" | "nfs4" | "cifs" | "smb3");
    absolute(device).filter(|_| !is_share && !device.starts_with("//")).map(Need::Source)
}

fn absolute(path: &str) -> Option<PathBuf> {
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The network that a container was created in, where it is no longer connected to it. A start
/// connects it again, and fails where the network was removed meanwhile.
#[must_use]
pub fn network_that_was_left(container: &Value) -> Option<&str> {
    let mode = inspect::text(container, "/HostConfig/NetworkMode");
    let is_the_engines = matches!(mode, "" | "default" | "bridge" | "host" | "none" | "nat");
    if is_the_engines || mode.contains(':') {
        return None;
    }
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object)?;
    let is_it = |(name, endpoint): (&String, &Value)| {
        name == mode || inspect::text(endpoint, "/NetworkID") == mode
    };
    (!networks.iter().any(is_it)).then_some(mode)
}

/// Files that the Engine keeps for a container under a path with the container's ID. An agent that
/// sees one of them sees the disk of the Engine's machine, and no other machine's.
pub fn traces(container: &Value) -> impl Iterator<Item = &Path> {
    let pointers = ["/HostnamePath", "/ResolvConfPath", "/HostsPath", "/LogPath"];
    let paths = pointers.into_iter().map(|pointer| inspect::text(container, pointer));
    paths.filter(|path| path.starts_with('/')).map(Path::new)
}

/// What an agent in a container sees of the machine: its own bind mounts.
#[must_use]
pub fn windows(own_container: &Value) -> Vec<Window> {
    let mounts = own_container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let binds = mounts.filter(|mount| inspect::text(mount, "/Type") == "bind");
    let window = |mount| {
        let path = |pointer| absolute(inspect::text(mount, pointer));
        Some(Window { source: path("/Source")?, shown_at: path("/Destination")? })
    };
    binds.filter_map(window).collect()
}

/// The window that shows this path: the nearest one. What is mounted itself says nothing of its
/// path: it stays where it is mounted when the path is removed.
#[must_use]
pub fn window_of<'a>(windows: &'a [Window], path: &Path) -> Option<&'a Window> {
    let shows = |window: &&Window| path.starts_with(&window.source) && path != window.source;
    windows.iter().filter(shows).max_by_key(|window| window.source.components().count())
}

/// Whether everything is there, as far as it could be seen. `of` names the container, where it is
/// not the one that is updated, and ends in a colon.
///
/// # Errors
/// The first thing that is missing.
pub fn met(of: &str, looked: &[Looked]) -> Result<(), No> {
    looked.iter().find_map(|looked| unmet(of, looked)).map_or(Ok(()), Err)
}

fn unmet(of: &str, Looked { need, seen }: &Looked) -> Option<No> {
    let (reason, what) = match (need, seen) {
        (Need::Device(path), seen) => {
            let is = match seen {
                Seen::Missing => "is not there",
                Seen::Other => "is no device",
                Seen::Directory { may_hold_devices: false } => "holds no device",
                Seen::Unknown | Seen::Device | Seen::Directory { .. } => return None,
            };
            (Reason::DeviceMissing, format!("the device {} {is}", path.display()))
        }
        (Need::Source(path), Seen::Missing) => {
            (Reason::StartWouldFail, format!("{}, which it mounts, is not there", path.display()))
        }
        (Need::Network(name), Seen::Missing) => {
            (Reason::StartWouldFail, format!("its network {name} is not there"))
        }
        (Need::Source(_) | Need::Network(_), _) => return None,
    };
    Some(No::new(reason, format!("{of}{what}: it runs, but could not be started again")))
}

/// Whether the containers that this one joins or links to are there and run. `others` are what the
/// inspect documents of all other containers tell of their ties.
///
/// # Errors
/// The first one that is not.
pub(super) fn joins(of: &str, container: &Value, others: &[impl Borrow<Value>]) -> Result<(), No> {
    // What cannot be read is refused where the container is to be made again.
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

/// The name of the other container, or the beginning of its ID where it is gone.
fn shown(anchor: &Anchor, found: Option<&Value>) -> String {
    const ID_LENGTH: usize = 64;
    let written = &anchor.container;
    match found.map(inspect::name) {
        Some(name) => name.to_owned(),
        None if written.len() == ID_LENGTH => written.chars().take(12).collect(),
        None => written.clone(),
    }
}

/// Whether a start fails unless the other container runs. Volumes are known when a container is
/// created, and on a user's network a link is no more than a name.
fn must_run(anchor: &Anchor, container: &Value) -> bool {
    let mode = inspect::text(container, "/HostConfig/NetworkMode");
    match anchor.how {
        Tie::Network | Tie::Pid | Tie::Ipc => true,
        Tie::Link => matches!(mode, "" | "default" | "bridge"),
        Tie::Volumes | Tie::Label => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(host_config: impl Into<Value>) -> Value {
        json!({ "Id": "1", "Name": "/till", "HostConfig": host_config.into() })
    }

    fn device(path: &str) -> Need {
        Need::Device(path.into())
    }

    fn source(path: &str) -> Need {
        Need::Source(path.into())
    }

    #[test]
    fn a_start_needs_devices_and_the_sources_of_bind_mounts() {
        let needs = paths(&container(json!({
            "Devices": [{ "PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0" }],
            "Binds": ["/srv/data:/data:ro", "named:/cache", "/etc/localtime:/etc/localtime"],
            "Mounts": [
                { "Type": "bind", "Source": "/srv/conf", "Target": "/conf" },
                { "Type": "bind", "Source": "/srv/made", "Target": "/made",
                  "BindOptions": { "CreateMountpoint": true } },
                { "Type": "volume", "Source": "named", "Target": "/v" },
                { "Type": "tmpfs", "Target": "/t" },
            ],
        })));
        let expected = [
            device("/dev/ttyUSB0"),
            source("/srv/data"),
            source("/etc/localtime"),
            source("/srv/conf"),
        ];
        assert_eq!(needs, expected);
    }

    #[test]
    fn a_privileged_container_has_the_devices_that_keep_their_path() {
        let needs = paths(&container(json!({
            "Privileged": true,
            "Devices": [
                { "PathOnHost": "/dev/ttyUSB0", "PathInContainer": "/dev/ttyUSB0" },
                { "PathOnHost": "/dev/ttyUSB1", "PathInContainer": "/dev/modem" },
            ],
        })));
        assert_eq!(needs, [device("/dev/ttyUSB1")]);
    }

    #[test]
    fn a_volume_may_stand_for_a_path_of_the_machine() {
        let named = json!({ "Mounts": [
            { "Type": "volume", "Name": "usb", "Driver": "local" },
            { "Type": "volume", "Name": "a".repeat(64), "Driver": "local" },
            { "Type": "volume", "Name": "far", "Driver": "rclone" },
            { "Type": "bind", "Source": "/srv" },
        ] });
        assert_eq!(volumes(&named).collect::<Vec<_>>(), ["usb"]);
        let of = |kind: &str, device: &str| {
            source_of_volume(&json!({ "Options": { "type": kind, "device": device } }))
        };
        assert_eq!(of("none", "/mnt/usb"), Some(source("/mnt/usb")));
        assert_eq!(of("ext4", "/dev/sda1"), Some(source("/dev/sda1")));
        assert_eq!(of("tmpfs", "tmpfs"), None);
        assert_eq!(of("nfs", ":/export"), None);
        assert_eq!(of("nfs4", "/export"), None);
        assert_eq!(of("cifs", "//server/share"), None);
        assert_eq!(source_of_volume(&json!({ "Options": null })), None);
    }

    #[test]
    fn documents_of_any_shape_need_nothing() {
        for document in [json!(null), json!([]), container(json!({ "Devices": 7, "Binds": [1] }))] {
            assert_eq!(paths(&document), []);
            assert_eq!(network_that_was_left(&document), None);
            assert_eq!(windows(&document), []);
        }
    }

    #[test]
    fn what_is_missing_holds_and_what_cannot_be_seen_does_not() {
        let held = |need, seen| met("", &[Looked { need, seen }]).err().map(|no| no.reason);
        let folder = |may_hold_devices| Seen::Directory { may_hold_devices };
        for (seen, of_a_device, of_a_source) in [
            (Seen::Unknown, None, None),
            (Seen::Missing, Some(Reason::DeviceMissing), Some(Reason::StartWouldFail)),
            (Seen::Device, None, None),
            (Seen::Other, Some(Reason::DeviceMissing), None),
            (folder(true), None, None),
            (folder(false), Some(Reason::DeviceMissing), None),
        ] {
            assert_eq!(held(device("/dev/x"), seen), of_a_device, "{seen:?}");
            assert_eq!(held(source("/srv/x"), seen), of_a_source, "{seen:?}");
        }
    }

    #[test]
    fn the_detail_names_the_thing_and_the_container() {
        let looked = [Looked { need: device("/dev/ttyUSB0"), seen: Seen::Missing }];
        let no = met("side: ", &looked).expect_err("it is missing");
        let detail =
            "side: the device /dev/ttyUSB0 is not there: it runs, but could not be started again";
        assert_eq!(no.detail, detail);
    }

    #[test]
    fn a_network_that_was_left_is_told_from_one_that_is_in_use() {
        let mut document = container(json!({ "NetworkMode": "shop" }));
        document["NetworkSettings"] = json!({ "Networks": { "other": { "NetworkID": "5" } } });
        assert_eq!(network_that_was_left(&document), Some("shop"));
        document["NetworkSettings"] = json!({ "Networks": { "shop": { "NetworkID": "5" } } });
        assert_eq!(network_that_was_left(&document), None);
        document["HostConfig"]["NetworkMode"] = json!("5");
        assert_eq!(network_that_was_left(&document), None);
        for mode in ["bridge", "default", "host", "none", "container:5"] {
            document["HostConfig"]["NetworkMode"] = json!(mode);
            assert_eq!(network_that_was_left(&document), None, "{mode}");
        }
    }

    #[test]
    fn an_agent_in_a_container_sees_what_is_mounted_into_it() {
        let own = json!({ "Mounts": [
            { "Type": "bind", "Source": "/dev", "Destination": "/host/dev" },
            { "Type": "bind", "Source": "/", "Destination": "/host" },
            { "Type": "bind", "Source": "/srv/x", "Destination": "/x" },
            { "Type": "volume", "Source": "/var/lib/docker/volumes/s/_data", "Destination": "/s" },
        ] });
        let windows = windows(&own);
        let shown = |path| {
            let window = window_of(&windows, Path::new(path));
            window.map(|window| window.shown_at.display().to_string())
        };
        assert_eq!(shown("/dev/ttyUSB0").as_deref(), Some("/host/dev"));
        assert_eq!(shown("/device").as_deref(), Some("/host"));
        assert_eq!(shown("/srv/x/y").as_deref(), Some("/x"));
        assert_eq!(shown("/srv/x").as_deref(), Some("/host"), "a mount outlives its path");
        assert_eq!(window_of(&windows[..1], Path::new("/srv")), None);
    }

    #[test]
    fn a_container_whose_network_is_joined_must_run() {
        let id = "5".repeat(64);
        let other = |name: &str, is_running: bool| json!({ "Id": id, "Name": name, "State": { "Running": is_running } });
        let mode = format!("container:{id}");
        let document = container(json!({ "NetworkMode": mode }));
        let told = |others: &[Value]| joins("", &document, others).err().map(|no| no.detail);
        let end = "it runs, but could not be started again";
        assert_eq!(told(&[other("/vpn", true)]), None);
        let stopped = format!("it shares the network of vpn, which does not run: {end}");
        assert_eq!(told(&[other("/vpn", false)]), Some(stopped));
        let gone = format!("it shares the network of 555555555555, which is not there: {end}");
        assert_eq!(told(&[]), Some(gone));
    }

    #[test]
    fn a_link_needs_the_other_container_on_the_default_bridge_alone() {
        for (mode, is_held) in [("default", true), ("bridge", true), ("shop", false)] {
            let document = container(json!({ "NetworkMode": mode, "Links": ["/db:/till/db"] }));
            assert_eq!(joins("", &document, &[] as &[Value]).is_err(), is_held, "{mode}");
        }
        let volumes = container(json!({ "NetworkMode": "default", "VolumesFrom": ["gone"] }));
        assert_eq!(joins("", &volumes, &[] as &[Value]), Ok(()));
    }
}
