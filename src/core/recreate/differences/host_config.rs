//! `HostConfig` and `Mounts`: no value comes from the image, except declared volumes.

use serde_json::{Value, json};

use crate::core::recreate::differences::{Differences, Inspected, is_collection, keys, texts};

pub(super) fn compare(before: &Value, after: &Value, found: &mut Differences) {
    let (old, new) = (&before["HostConfig"], &after["HostConfig"]);
    for key in keys(old, new) {
        let path = format!("HostConfig.{key}");
        let (value, now) = (&old[key], &new[key]);
        let is_readable = is_collection(value) && is_collection(now);
        match key {
            "Binds" | "Mounts" | "Links" if !is_readable => found.unless_equal(&path, value, now),
            // The volumes themselves are compared in `Mounts`.
            "Binds" => compare_binds(before, value, now, found),
            "PortBindings" => {
                found.unless_equal(&path, &without_nulls(value), &without_nulls(now));
            }
            "Mounts" => compare_mount_requests(before, value, now, found),
            // The Engine lists them in no fixed order.
            "Links" => found.unless(texts(value) == texts(now), &path, value, now),
            "RestartPolicy" => {
                found.unless_equal(&path, &without_empty_name(value), &without_empty_name(now));
            }
            _ => found.unless_equal(&path, value, now),
        }
    }
}

/// An anonymous `/path` may have the name of its volume now, and the order does not matter. Podman
/// lists volumes of the image here as well: they are new if nothing was mounted there before.
fn compare_binds(container: &Value, before: &Value, after: &Value, found: &mut Differences) {
    let (old, new) = (texts(before), texts(after));
    let is_same = |old: &str, new: &str| {
        old == new || (!old.contains(':') && new.ends_with(&format!(":{old}")))
    };
    let mounts = container["Mounts"].as_array();
    let was_mounted = |bind: &str| {
        let place = bind.split(':').nth(1).unwrap_or(bind);
        mounts.into_iter().flatten().any(|mount| mount["Destination"] == place)
    };
    let is_there = |bind: &&str| new.iter().any(|now| is_same(bind, now));
    let is_explained = |now: &&str| old.iter().any(|bind| is_same(bind, now)) || !was_mounted(now);
    let is_kept = old.iter().all(is_there) && new.iter().all(is_explained);
    found.unless(is_kept, "HostConfig.Binds", before, after);
}

/// Podman lists ports that are not published here, with null.
fn without_nulls(ports: &Value) -> Value {
    let mut ports = ports.clone();
    if let Some(ports) = ports.as_object_mut() {
        ports.retain(|_, bindings| !bindings.is_null());
    }
    ports
}

/// A mount without a source may have the name of its volume now, and anonymous volumes may have
/// been added by name.
fn compare_mount_requests(before: &Value, requests: &Value, now: &Value, found: &mut Differences) {
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (old, new) = (all(requests), all(now));
    let names: Vec<&Value> =
        before["Mounts"].as_array().into_iter().flatten().map(|mount| &mount["Name"]).collect();
    let is_kept = old.len() <= new.len()
        && old.iter().zip(&new).all(|(old, new)| *new == *old || *new == with_source(old, new))
        && new.iter().skip(old.len()).all(|added| names.contains(&&added["Source"]));
    found.unless(is_kept, "HostConfig.Mounts", requests, now);
}

/// The request with the source of the other one, if it asks for a new volume.
fn with_source(request: &Value, other: &Value) -> Value {
    let mut request = request.clone();
    let is_anonymous = request["Source"].as_str().unwrap_or_default().is_empty();
    if let Some(request) = request.as_object_mut().filter(|_| is_anonymous) {
        request.insert("Source".to_owned(), other["Source"].clone());
    }
    request
}

/// Engines that were given no policy show an empty one.
fn without_empty_name(policy: &Value) -> Value {
    let mut policy = policy.clone();
    if policy["Name"] == json!("") {
        policy["Name"] = json!("no");
    }
    policy
}

/// Values that the Engine writes differently for the same mount.
fn is_engine_default(key: &str, mount: &Value, now: &Value) -> bool {
    match key {
        // An anonymous volume has no mode, a named one has the default.
        "Mode" => mount[key] == json!("") && now[key] == json!("z"),
        // Engine 28 omits it for an anonymous volume in `Binds`; the directory contains the same
        // name.
        "Name" => mount[key].is_null() && mount["Source"] == now["Source"],
        // An image is mounted from a layer that is created for the container.
        "Source" => mount["Type"] == json!("image"),
        _ => false,
    }
}

/// Every mount exists with the same source. Volumes that the new image declares are allowed in
/// addition.
pub(super) fn compare_mounts(before: Inspected<'_>, after: Inspected<'_>, found: &mut Differences) {
    let (old, new) = (&before.container["Mounts"], &after.container["Mounts"]);
    let at = |mounts: &Value, destination: &Value| {
        let mut mounts = mounts.as_array().into_iter().flatten();
        mounts.find(|mount| mount["Destination"] == *destination).cloned()
    };
    for mount in old.as_array().into_iter().flatten() {
        let path = format!("Mounts.{}", mount["Destination"].as_str().unwrap_or_default());
        let now = at(new, &mount["Destination"]).unwrap_or_default();
        for key in keys(mount, &now) {
            let is_kept = mount[key] == now[key] || is_engine_default(key, mount, &now);
            found.unless(is_kept, &format!("{path}.{key}"), &mount[key], &now[key]);
        }
    }
    for mount in new.as_array().into_iter().flatten() {
        let destination = mount["Destination"].as_str().unwrap_or_default();
        let is_known = at(old, &mount["Destination"]).is_some();
        let is_declared = after.image["Config"]["Volumes"].get(destination).is_some();
        let path = format!("Mounts.{destination}");
        found.unless(is_known || is_declared, &path, &Value::Null, mount);
    }
}
