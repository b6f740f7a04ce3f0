//! Lenient reading of the Engine's answers: reads only what is needed, and keeps unknown words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::core::docker::api_version::ApiVersion;
use crate::core::docker::engine_registries::EngineRegistries;
use crate::core::docker::image_store::ImageStore;
use crate::core::docker::reference::Platform;
use crate::engine::{
    CreatedFrom, EngineError, EngineInfo, ImageFacts, Listed, ListedImage, SwarmMembership,
};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The oldest and the newest API version in a `/version` document. If the oldest is missing, the
/// Engine is assumed to support only its newest.
pub fn api_versions(version: &Value) -> Result<(ApiVersion, ApiVersion), EngineError> {
    let wrong = |detail: String| EngineError::Garbage { call: "version", detail };
    let newest: ApiVersion =
        text(version, "ApiVersion").parse().map_err(|_| wrong("it names no ApiVersion".into()))?;
    let oldest = text(version, "MinAPIVersion").parse().unwrap_or(newest);
    Ok((oldest.min(newest), newest))
}

/// The Engine's facts about itself. `version` has the negotiated version in its `ApiVersion`.
pub fn engine_info(version: &Value, info: &Value) -> EngineInfo {
    let api = api_versions(version).map_or(ApiVersion::new(1, 41), |(_, agreed)| agreed);
    EngineInfo {
        swarm: swarm_membership(info),
        api,
        can_update: !is_podman(version),
        platform: Platform {
            os: text(version, "Os").to_owned(),
            architecture: text(version, "Arch").to_owned(),
            variant: String::new(),
        },
        version: text(version, "Version").to_owned(),
        root_dir: PathBuf::from(text(info, "DockerRootDir")),
        live_restore: info.get("LiveRestoreEnabled").and_then(Value::as_bool).unwrap_or(false),
        image_store: ImageStore::of(info, is_containerd_store(info)),
        containerd_store: is_containerd_store(info),
        unpacks_zstd: unpacks_zstd(version, info),
        registries: EngineRegistries::of_info(info),
    }
}

/// How the Engine takes part in a Swarm. A manager without a majority, or one that is just being
/// started, cannot be asked about the Swarm.
pub fn swarm_membership(info: &Value) -> SwarmMembership {
    let swarm = info.get("Swarm").unwrap_or(&Value::Null);
    let is_manager = swarm.get("ControlAvailable").and_then(Value::as_bool).unwrap_or(false);
    SwarmMembership { node_id: text(swarm, "NodeID").to_owned(), is_manager }
}

/// Podman's service for Docker's API names itself among the components of its `version`.
pub fn is_podman(version: &Value) -> bool {
    let components = version.get("Components").and_then(Value::as_array);
    let mut components = components.into_iter().flatten();
    components.any(|component| text(component, "Name").starts_with("Podman"))
}

/// The first major version of Docker's Engine whose classic image store unpacks zstd
/// (`pkg/archive`, moby#41759).
const ZSTD_SINCE: u32 = 23;

/// Whether the Engine can unpack zstd layers. containerd and Podman always could. An Engine whose
/// version is not a number is assumed to be new; if it is not, its pull fails.
fn unpacks_zstd(version: &Value, info: &Value) -> bool {
    let major = text(version, "Version").split(['.', '-', '+']).next().unwrap_or_default();
    let is_new = major.parse().map_or(true, |major: u32| major >= ZSTD_SINCE);
    is_new || is_podman(version) || is_containerd_store(info)
}

/// The containerd image store shows itself in the status of the storage driver (`driver-type:
/// io.containerd.snapshotter.v1`).
fn is_containerd_store(info: &Value) -> bool {
    let rows = info.get("DriverStatus").and_then(Value::as_array);
    rows.is_some_and(|rows| {
        rows.iter().any(|row| row.to_string().contains("io.containerd.snapshotter"))
    })
}

/// One row of the list of containers; `None` if it has no ID.
///
/// `Image` is the image as the user wrote it only as long as this name points at the running image;
/// otherwise the Engine shows the ID (moby `daemon/list.go`, `refreshImage`). Podman's list is not
/// used for this.
pub fn container(row: &Value, is_podman: bool) -> Option<Listed> {
    let id = row.get("Id")?.as_str()?.to_owned();
    let names = row.get("Names").and_then(Value::as_array)?;
    // Links give a container more names, of the form /OTHER/ALIAS.
    let own = names.iter().filter_map(Value::as_str).map(|name| name.trim_start_matches('/'));
    let name = own.min_by_key(|name| name.matches('/').count())?.to_owned();
    let (image, image_id) = (text(row, "Image"), text(row, "ImageID"));
    let tells = !is_podman && !image.is_empty() && image != image_id;
    let descriptor = row.get("ImageManifestDescriptor").unwrap_or(&Value::Null);
    Some(Listed {
        id,
        name,
        state: text(row, "State").to_owned(),
        exit_code: exit_code(text(row, "Status")),
        image_id: image_id.to_owned(),
        created_from: tells.then(|| CreatedFrom {
            image: image.to_owned(),
            manifest: text(descriptor, "digest").parse().ok(),
        }),
        labels: labels(row.get("Labels")),
        endpoints: endpoints(row),
    })
}

/// The exit code in a status for people, such as `Exited (0) 2 hours ago`: a list has it nowhere
/// else.
fn exit_code(status: &str) -> Option<i64> {
    status.strip_prefix("Exited (")?.split_once(')')?.0.parse().ok()
}

/// Labels, as a map of texts.
pub fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn endpoints(row: &Value) -> Vec<String> {
    let networks = row.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
    let endpoints = networks.into_iter().flatten().map(|(_, it)| text(it, "EndpointID"));
    let mut endpoints: Vec<_> = endpoints.filter(|id| !id.is_empty()).map(str::to_owned).collect();
    endpoints.sort();
    endpoints
}

/// One row of the list of images; `None` if it has no ID.
pub fn image(row: &Value) -> Option<ListedImage> {
    Some(ListedImage {
        id: row.get("Id")?.as_str()?.to_owned(),
        tags: names(row, "RepoTags"),
        created: row.get("Created").and_then(Value::as_i64).unwrap_or(0),
    })
}

/// The facts of one row of the list of images; `None` if the row is not complete.
///
/// The containerd image store lists an image whose configuration it could not read without labels
/// and with 1970 as its date (moby `daemon/containerd/image_list.go`). Podman's list is not used
/// for this.
pub fn image_facts(row: &Value, is_podman: bool) -> Option<ImageFacts> {
    let labels = row.get("Labels")?;
    let was_read = row.get("Created").and_then(Value::as_i64) > Some(0) || labels.is_object();
    let id = row.get("Id")?.as_str()?.to_owned();
    (was_read && !is_podman).then(|| ImageFacts {
        id,
        tags: names(row, "RepoTags"),
        repo_digests: names(row, "RepoDigests"),
        labels: self::labels(Some(labels)),
    })
}

/// The names of an image. Up to API 1.42 an image without names is listed as `<none>:<none>`.
fn names(row: &Value, key: &str) -> Vec<String> {
    let names = row.get(key).and_then(Value::as_array).into_iter().flatten();
    let names = names.filter_map(Value::as_str).filter(|name| !name.starts_with("<none>"));
    names.map(str::to_owned).collect()
}

/// When a file was last written, from the Engine's facts about its path
/// (`X-Docker-Container-Path-Stat`); `None` if it is not an ordinary file. The mode is that of Go's
/// `fs.FileMode`, whose upper bits are the type.
pub fn file_time(stat: &Value) -> Option<DateTime<Utc>> {
    const TYPE_BITS: u64 = 0x8f28_0000;
    let mode = stat.get("mode").and_then(Value::as_u64)?;
    path_time(stat).filter(|_| mode & TYPE_BITS == 0)
}

/// When anything at a path was last written, from the same facts.
pub fn path_time(stat: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text(stat, "mtime")).ok()?;
    Some(time.with_timezone(&Utc))
}

/// One line of a log: without its line end, without control characters that could control a
/// terminal, and at most `bytes_max` long.
pub fn log_line(bytes: &[u8], bytes_max: usize) -> String {
    let kept = &bytes[..bytes.len().min(bytes_max)];
    let text = String::from_utf8_lossy(kept);
    let clean = |letter: char| if letter.is_control() && letter != '\t' { ' ' } else { letter };
    text.trim_end().chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_state_does_not_spoil_a_row() {
        let row = json!({
            "Id": "1", "Names": ["/other/alias", "/till"], "State": "hibernating",
            "ImageID": "sha256:1", "Labels": { "a": "b", "c": null },
        });
        let read = container(&row, false).expect("a container");
        assert_eq!((read.name.as_str(), read.state.as_str()), ("till", "hibernating"));
        assert_eq!((read.labels.len(), read.created_from), (1, None));
        for row in [json!({ "Names": ["/no-id"] }), json!("rubbish"), Value::Null] {
            assert_eq!(container(&row, false), None);
        }
    }

    #[test]
    fn only_a_manager_that_can_be_asked_is_one() {
        let read = |swarm: Value| swarm_membership(&json!({ "Swarm": swarm }));
        let manager = json!({ "NodeID": "i89i", "ControlAvailable": true });
        let expected = SwarmMembership { node_id: "i89i".into(), is_manager: true };
        assert_eq!(read(manager), expected);
        let worker = json!({ "NodeID": "bxkj", "ControlAvailable": false });
        assert_eq!(read(worker), SwarmMembership { node_id: "bxkj".into(), is_manager: false });
        let none = json!({ "NodeID": "", "LocalNodeState": "inactive" });
        assert_eq!(read(none), SwarmMembership::default());
        assert_eq!(swarm_membership(&Value::Null), SwarmMembership::default());
    }

    #[test]
    fn the_image_of_a_row_is_what_the_user_wrote_unless_its_tag_moved() {
        let manifest = format!("sha256:{}", "1".repeat(64));
        let of = |image: &str, is_podman: bool| {
            let row = json!({
                "Id": "1", "Names": ["/till"], "Image": image, "ImageID": "sha256:1",
                "ImageManifestDescriptor": { "digest": manifest },
            });
            container(&row, is_podman).expect("a container").created_from
        };
        let told = of("shop/till:v1", false).expect("it is told");
        assert_eq!(told.image, "shop/till:v1");
        assert_eq!(told.manifest.expect("a digest").as_str(), manifest);
        assert_eq!(of("sha256:1", false), None);
        assert_eq!(of("", false), None);
        assert_eq!(of("shop/till:v1", true), None);
    }

    #[test]
    fn a_row_that_does_not_tell_everything_of_an_image_tells_nothing() {
        let row = |created: i64, labels: Value| {
            json!({
                "Id": "sha256:1", "Created": created, "Labels": labels,
                "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>", "a@sha256:2"],
            })
        };
        let told = image_facts(&row(7, Value::Null), false).expect("it is told");
        assert_eq!((told.labels.len(), told.tags.len()), (0, 0));
        assert_eq!(told.repo_digests, ["a@sha256:2"]);
        let told = image_facts(&row(0, json!({ "a": "b" })), false).expect("it is told");
        assert_eq!(told.labels["a"], "b");
        assert_eq!(image_facts(&row(0, Value::Null), false), None);
        assert_eq!(image_facts(&row(7, Value::Null), true), None);
        assert_eq!(image_facts(&json!({ "Id": "sha256:1", "Created": 7 }), false), None);
    }

    #[test]
    fn the_image_store_is_told_by_the_drivers_status() {
        let version = json!({ "ApiVersion": "1.51", "Version": "28.5.2" });
        let info = json!({ "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]] });
        assert!(engine_info(&version, &info).containerd_store);
        let info = json!({ "DriverStatus": [["Backing Filesystem", "extfs"]] });
        assert!(!engine_info(&version, &info).containerd_store);
    }

    #[test]
    fn podman_cannot_change_a_restart_policy() {
        let version = json!({ "Components": [{ "Name": "Podman Engine" }, { "Name": "Conmon" }] });
        assert!(!engine_info(&version, &Value::Null).can_update);
        let version = json!({ "Components": [{ "Name": "Engine" }, { "Name": "containerd" }] });
        assert!(engine_info(&version, &Value::Null).can_update);
    }

    #[test]
    fn zstd_is_known_to_dockers_engine_from_23_on() {
        let unpacks = |version: Value, info: Value| engine_info(&version, &info).unpacks_zstd;
        let docker = |version: &str| json!({ "Version": version });
        for (version, expected) in [
            ("20.10.24+dfsg1", false),
            ("19.03.15", false),
            ("22.06.0-beta.0", false),
            ("23.0.1", true),
            ("28.5.2", true),
            ("dev", true),
            ("", true),
        ] {
            assert_eq!(unpacks(docker(version), Value::Null), expected, "{version}");
        }
        let containerd =
            json!({ "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]] });
        assert!(unpacks(docker("20.10.24"), containerd));
        let podman = json!({ "Version": "4.3.1", "Components": [{ "Name": "Podman Engine" }] });
        assert!(unpacks(podman, Value::Null));
    }

    #[test]
    fn only_ordinary_files_have_a_time() {
        let stat = |mode: u64| json!({ "mode": mode, "mtime": "2026-11-21T07:00:00Z" });
        assert!(file_time(&stat(0o644)).is_some());
        assert!(file_time(&stat(0x8000_0000 | 0o755)).is_none(), "a directory");
        assert!(file_time(&Value::Null).is_none());
    }

    #[test]
    fn log_lines_cannot_play_with_a_terminal() {
        assert_eq!(log_line(b"\x1b[31mred\r\n", 100), " [31mred");
        assert_eq!(log_line(b"abcdef", 3), "abc");
    }
}
