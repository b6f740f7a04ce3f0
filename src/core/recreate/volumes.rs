//! Anonymous volumes, attached again by the name that the Engine gave them.
//!
//! A create body that does not name them gets new, empty volumes, and the service no longer has its
//! data.

use serde_json::{Map, Value, json};

use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;

/// Volumes of this driver need no driver in the request.
const DEFAULT_VOLUME_DRIVER: &str = "local";

/// Adds the name of every anonymous volume of the container to `host_config`.
pub(super) fn reattach(
    container: &JsonPath<'_>,
    host_config: &mut Map<String, Value>,
) -> Result<(), CannotRecreate> {
    let inherits = !container.path(&["HostConfig", "VolumesFrom"])?.elements()?.is_empty();
    let declared = container.path(&["Config", "Volumes"])?.optional_object()?;
    let is_declared = |destination: &str| {
        declared.is_some_and(|volumes| volumes.keys().any(|path| clean(path) == destination))
    };
    check_lists(container)?;
    for mount in container.field("Mounts")?.list()? {
        if mount.field("Type")?.string()? != "volume" {
            continue;
        }
        let volume = Volume::read(&mount)?;
        let is_named = name_in_binds(&volume, host_config) || name_in_mounts(&volume, host_config);
        // Not declared, so it comes from the containers in VolumesFrom, and will again.
        let is_inherited = inherits && !is_declared(&volume.destination);
        if !is_named && !is_inherited {
            push(host_config, "Mounts", volume.mount());
        }
    }
    Ok(())
}

/// A volume in the container.
struct Volume {
    name: String,
    destination: String,
    driver: String,
    read_only: bool,
}

impl Volume {
    fn read(mount: &JsonPath<'_>) -> Result<Self, CannotRecreate> {
        Ok(Self {
            name: name(mount)?.to_owned(),
            destination: clean(mount.field("Destination")?.string()?),
            driver: mount.field("Driver")?.optional_string()?.unwrap_or_default().to_owned(),
            read_only: !mount.field("RW")?.boolean()?,
        })
    }

    /// The volume as an element of `HostConfig.Mounts`. Unlike `Binds`, this can contain a path
    /// with a colon, and does not conflict with `HostConfig.VolumeDriver`.
    fn mount(&self) -> Value {
        let mut mount = json!({
            "Type": "volume",
            "Source": self.name,
            "Target": self.destination,
        });
        if self.read_only {
            mount["ReadOnly"] = Value::Bool(true);
        }
        if !matches!(self.driver.as_str(), "" | DEFAULT_VOLUME_DRIVER) {
            mount["VolumeOptions"] = json!({ "DriverConfig": { "Name": self.driver } });
        }
        mount
    }
}

/// The volume's name. Engine 28 leaves it out if `Binds` asked for an anonymous volume, but the
/// directory of the `local` driver ends in `volumes/NAME/_data`.
fn name<'a>(mount: &JsonPath<'a>) -> Result<&'a str, CannotRecreate> {
    let name = mount.field("Name")?;
    if let Some(name) = name.optional_string()?.filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    let is_local = mount.field("Driver")?.optional_string()? == Some(DEFAULT_VOLUME_DRIVER);
    let source = mount.field("Source")?.optional_string()?.filter(|_| is_local);
    source
        .and_then(|source| source.strip_suffix("/_data")?.rsplit_once("/volumes/"))
        .map(|(_, name)| name)
        .filter(|name| is_anonymous_name(name))
        .ok_or_else(|| name.refuse("is missing, so the volume cannot be attached again"))
}

/// The Engine names anonymous volumes with 64 hexadecimal digits.
fn is_anonymous_name(name: &str) -> bool {
    const LENGTH: usize = 64;
    name.len() == LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// After this check the two lists below can be read without errors.
fn check_lists(container: &JsonPath<'_>) -> Result<(), CannotRecreate> {
    container.path(&["HostConfig", "Binds"])?.strings()?;
    for mount in container.path(&["HostConfig", "Mounts"])?.elements()? {
        mount.object()?;
        mount.field("Target")?.string()?;
        mount.field("Source")?.optional_string()?;
    }
    Ok(())
}

/// Whether `Binds` contains the volume. A bare `/path` asks for a new volume: it gets the name.
fn name_in_binds(volume: &Volume, host_config: &mut Map<String, Value>) -> bool {
    let binds = host_config.get_mut("Binds").and_then(Value::as_array_mut);
    for bind in binds.into_iter().flatten() {
        let text = bind.as_str().unwrap_or_default().to_owned();
        let mut parts = text.split(':');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        if clean(second.unwrap_or(first)) == volume.destination {
            if second.is_none() {
                *bind = Value::String(format!("{}:{}", volume.name, volume.destination));
            }
            return true;
        }
    }
    false
}

/// Whether `Mounts` contains the volume. A mount without a source asks for a new one: it gets the
/// name.
fn name_in_mounts(volume: &Volume, host_config: &mut Map<String, Value>) -> bool {
    let mounts = host_config.get_mut("Mounts").and_then(Value::as_array_mut);
    let text = |mount: &Value, key: &str| {
        mount.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    for mount in mounts.into_iter().flatten() {
        if clean(&text(mount, "Target")) == volume.destination {
            if text(mount, "Source").is_empty() {
                mount["Source"] = Value::String(volume.name.clone());
            }
            return true;
        }
    }
    false
}

/// Appends to a list that may be null or missing.
fn push(host_config: &mut Map<String, Value>, key: &str, element: Value) {
    match host_config.get_mut(key) {
        Some(Value::Array(list)) => list.push(element),
        _ => {
            host_config.insert(key.to_owned(), Value::Array(vec![element]));
        }
    }
}

/// A path as the Engine writes it in `Mounts`: without doubled slashes, `.`, or a slash at the end.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
