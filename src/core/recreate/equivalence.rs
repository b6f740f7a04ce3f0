//! Whether one container was created to replace another: proof if there is no journal.
//!
//! Two containers are alike if no setting that a person chooses differs: environment, command,
//! labels, mounts, networks, host configuration. An update changes the image and the values from
//! the image, the name, and, while it runs, the restart policy. Every other difference shows that
//! the two do not belong together.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::core::docker::inspect;
use crate::core::recreate::differences::{Inspected, differences};

/// The parts of an inspect document that a person chooses. The other parts are state, and differ
/// between a container that runs and one that was never started.
const CHOSEN: [&str; 3] = ["Config.", "HostConfig.", "Mounts."];

/// The field that a running update changes by itself.
const CHANGED_BY_AN_UPDATE: &str = "HostConfig.RestartPolicy";

/// Fields that name another container by its ID. A dependent is recreated on the new container, so
/// both fields are joins, and the IDs differ.
const JOINS: [&str; 3] = ["HostConfig.NetworkMode", "HostConfig.PidMode", "HostConfig.IpcMode"];

/// The prefix of a join.
const JOIN: &str = "container:";

/// Checks that the second container can be the replacement of the first one.
///
/// # Errors
/// The first path in the inspect document that differs.
pub fn check_alike(before: Inspected<'_>, after: Inspected<'_>) -> Result<(), String> {
    if !before.container.is_object() || !after.container.is_object() {
        return Err("the document of a container is missing".to_owned());
    }
    if !has_its_networks(before.container, after.container) {
        return Err("NetworkSettings.Networks".to_owned());
    }
    let found = differences(before, after);
    let strange = found.into_iter().find(|difference| {
        let path = difference.path.as_str();
        CHOSEN.iter().any(|part| path.starts_with(part))
            && path != CHANGED_BY_AN_UPDATE
            && !is_moved_join(path, &difference.before, &difference.after)
            && !(path == "Config.Hostname" && joins_network(before.container))
            && !(path == "HostConfig.VolumesFrom"
                && is_as_long(&difference.before, &difference.after))
    });
    strange.map_or(Ok(()), |difference| Err(difference.path))
}

/// Whether the second container is in the networks of the first one. A create that a kill or a
/// power cut ended may leave some of them out: the Engine stores a container before its networks,
/// and below API 1.44 each further one is a call of its own. Nothing has run in such a container.
fn has_its_networks(before: &Value, after: &Value) -> bool {
    let (before, after_names) = (networks(before), networks(after));
    match inspect::was_started(after) {
        true => before == after_names,
        false => after_names.is_subset(&before),
    }
}

fn networks(container: &Value) -> BTreeSet<&str> {
    let networks = container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    networks.into_iter().flat_map(|networks| networks.keys()).map(String::as_str).collect()
}

fn is_moved_join(path: &str, before: &Value, after: &Value) -> bool {
    let is_join = |value: &Value| value.as_str().is_some_and(|text| text.starts_with(JOIN));
    JOINS.contains(&path) && is_join(before) && is_join(after)
}

/// Such a container has the host name of the container whose network it joins.
fn joins_network(container: &Value) -> bool {
    inspect::text(container, "/HostConfig/NetworkMode").starts_with(JOIN)
}

fn is_as_long(before: &Value, after: &Value) -> bool {
    let length = |list: &Value| list.as_array().map_or(0, Vec::len);
    length(before) > 0 && length(before) == length(after)
}

/// Whether Compose gave a container this name: `PROJECT-SERVICE-NUMBER`, with underscores in
/// Compose 1. The labels of the container tell, because a rename does not change them.
#[must_use]
pub fn is_named_by_compose(container: &Value, name: &str) -> bool {
    let labels = inspect::labels(container);
    let label = |key: &str| labels.get(&format!("com.docker.compose.{key}"));
    let (Some(project), Some(service), Some(number)) =
        (label("project"), label("service"), label("container-number"))
    else {
        return false;
    };
    ["-", "_"].iter().any(|mark| name == format!("{project}{mark}{service}{mark}{number}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(id: &str, name: &str) -> Value {
        json!({
            "Id": id,
            "Name": name,
            "Config": {
                "Hostname": &id[..12],
                "Env": ["SHIFT=late", "PATH=/bin"],
                "Labels": { "pilotfish.enable": "true" },
            },
            "HostConfig": {
                "NetworkMode": "shop",
                "Binds": ["till:/data"],
                "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
            },
            "Mounts": [{ "Type": "volume", "Name": "till", "Destination": "/data" }],
            "NetworkSettings": { "Networks": { "shop": { "Aliases": null } } },
        })
    }

    fn image() -> Value {
        json!({ "Config": { "Env": ["PATH=/bin"] } })
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let old = container("1111111111111111", "/pilotfish-old-till");
        let mut new = container("2222222222222222", "/till");
        change(&mut new);
        let image = image();
        let before = Inspected { container: &old, image: &image };
        check_alike(before, Inspected { container: &new, image: &image })
    }

    #[test]
    fn changes_by_an_update_are_no_difference() {
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|new| new["HostConfig"]["RestartPolicy"]["Name"] = json!("no")), Ok(()));
        assert_eq!(check(|new| new["AppArmorProfile"] = json!("docker-default")), Ok(()));
    }

    #[test]
    fn a_create_that_was_cut_short_may_lack_networks_until_the_first_start() {
        let lacks = |new: &mut Value| new["NetworkSettings"]["Networks"] = json!({});
        assert_eq!(check(lacks), Ok(()));
        let differs = Err("NetworkSettings.Networks".to_owned());
        let started = |new: &mut Value| {
            lacks(new);
            new["State"] = json!({ "StartedAt": "2027-01-01T12:00:00Z" });
        };
        assert_eq!(check(started), differs);
        let other = |new: &mut Value| new["NetworkSettings"]["Networks"] = json!({ "other": {} });
        assert_eq!(check(other), differs);
    }

    #[test]
    fn whatever_a_person_chooses_tells_two_containers_apart() {
        let differs = |path: &str, change: fn(&mut Value)| {
            assert_eq!(check(change), Err(path.to_owned()));
        };
        differs("Config.Env.SHIFT", |new| {
            new["Config"]["Env"] = json!(["SHIFT=early", "PATH=/bin"])
        });
        differs("Config.Labels.pilotfish.enable", |new| new["Config"]["Labels"] = json!({}));
        differs("HostConfig.Binds", |new| new["HostConfig"]["Binds"] = json!(["other:/data"]));
        differs("HostConfig.Privileged", |new| new["HostConfig"]["Privileged"] = json!(true));
        differs("HostConfig.NetworkMode", |new| new["HostConfig"]["NetworkMode"] = json!("host"));
        differs("Mounts./data.Name", |new| new["Mounts"][0]["Name"] = json!("other"));
        differs("NetworkSettings.Networks", |new| {
            new["NetworkSettings"]["Networks"] = json!({ "other": {} });
        });
        assert!(check(|new| *new = Value::Null).is_err());
    }

    #[test]
    fn a_dependent_may_depend_on_the_new_container() {
        let joined = |on: &str| {
            let mut container = container("1111111111111111", "/side");
            container["HostConfig"]["NetworkMode"] = json!(format!("container:{on}"));
            container["Config"]["Hostname"] = json!(on);
            container["NetworkSettings"]["Networks"] = json!({});
            container
        };
        let (old, new, image) = (joined("aaaa"), joined("bbbb"), image());
        let before = Inspected { container: &old, image: &image };
        assert_eq!(check_alike(before, Inspected { container: &new, image: &image }), Ok(()));
        let alone = container("2222222222222222", "/side");
        assert!(check_alike(before, Inspected { container: &alone, image: &image }).is_err());
    }

    #[test]
    fn compose_tells_the_name_that_it_gave() {
        let mut old = container("1111111111111111", "/pilotfish-old-shop-till-1");
        old["Config"]["Labels"] = json!({
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": "till",
            "com.docker.compose.container-number": "1",
        });
        assert!(is_named_by_compose(&old, "shop-till-1"));
        assert!(is_named_by_compose(&old, "shop_till_1"));
        assert!(!is_named_by_compose(&old, "till"));
        assert!(!is_named_by_compose(&container("1111111111111111", "/x"), "shop-till-1"));
    }
}
