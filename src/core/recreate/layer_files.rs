//! Files in the container's own layer, which an update drops.
//!
//! Compose copies `configs:` with inline `content:` or `environment:`, and `secrets:` from
//! `environment:`, into the container between create and start (tried with Compose 2.40). Inspect
//! does not show them: not in the mounts, not in the labels. `GET /containers/ID/changes` lists
//! them among everything that the container's own processes wrote.
//!
//! Their age identifies them. `HEAD /containers/ID/archive?path=…` gives a modification time in
//! whole seconds (it may be up to a second after the start); a declared file has the time of
//! `Created`. `State.StartedAt` cannot be used, because it changes with every restart.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::core::docker::compose::COMPOSE_PROJECT;
use crate::core::recreate::CannotRecreate;
use crate::core::recreate::json_path::JsonPath;
use crate::core::recreate::volumes::clean;

/// `Kind` of a path that was deleted; 0 is modified, 1 is added.
const DELETED: u64 = 2;

/// Whether files that the user declared may be in the container's own layer, so that the caller
/// must call [`written`]. True for every container that Compose created.
///
/// # Errors
///
/// [`CannotRecreate`] if the labels are invalid.
pub fn may_hold_declared_files(container: &Value) -> Result<bool, CannotRecreate> {
    let labels = JsonPath::root(container, "").path(&["Config", "Labels"])?;
    let labels = labels.optional_object()?;
    Ok(labels.is_some_and(|labels| labels.contains_key(COMPOSE_PROJECT)))
}

/// The paths that were added or changed in the container's layer, from `GET
/// /containers/ID/changes`: without their parent directories, and without mount points.
///
/// # Errors
///
/// [`CannotRecreate`] if one of the two documents cannot be read. Null means no change.
pub fn written(container: &Value, changes: &Value) -> Result<Vec<String>, CannotRecreate> {
    let mounted = mount_points(&JsonPath::root(container, ""))?;
    let changes = JsonPath::root(changes, "changes:");
    let mut all = Vec::new();
    for change in changes.elements()? {
        let kind = change.field("Kind")?;
        let number =
            kind.value().and_then(Value::as_u64).ok_or_else(|| kind.refuse("is no kind"))?;
        all.push((change.field("Path")?.string()?, number));
    }
    let leads_to_another = |path: &str| {
        let directory = format!("{path}/");
        all.iter().any(|(other, _)| other.starts_with(&directory))
            || mounted.iter().any(|other| other == path || other.starts_with(&directory))
    };
    let is_written = |(path, kind): &&(&str, u64)| *kind != DELETED && !leads_to_another(path);
    Ok(all.iter().filter(is_written).map(|(path, _)| (*path).to_owned()).collect())
}

/// Mount points of volumes, binds and temporary file systems: the Engine creates these directories.
fn mount_points(container: &JsonPath<'_>) -> Result<BTreeSet<String>, CannotRecreate> {
    let mut points = BTreeSet::new();
    for mount in container.field("Mounts")?.elements()? {
        points.insert(clean(mount.field("Destination")?.string()?));
    }
    let temporary = container.path(&["HostConfig", "Tmpfs"])?.optional_object()?;
    points.extend(temporary.into_iter().flat_map(|paths| paths.keys()).map(|path| clean(path)));
    Ok(points)
}
